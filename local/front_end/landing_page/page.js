// Without scripts the page is complete, and has no buttons that do nothing.
for (const source of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  button.textContent = "Copy";
  button.ariaLabel = `Copy the ${source.dataset.copy}`;
  button.ariaLive = "polite";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = button.ariaLabel = "Copied";
  });
  source.after(button);
}
