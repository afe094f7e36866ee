"""The quickstart as a Functions app in Python, to compare the app with."""
