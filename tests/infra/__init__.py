"""What can be shown of the infrastructure without Azure."""
