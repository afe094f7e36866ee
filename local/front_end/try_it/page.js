// A separate file: the page's Content-Security-Policy does not allow inline scripts.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const page = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  // Folds the schemas.
  defaultModelsExpandDepth: 0,
  syntaxHighlight: { theme: "monokai" },
  tryItOutEnabled: true,
  // By default Swagger UI sends the document to a validator on the internet.
  validatorUrl: null,
  // The key is fetched each time, so that the browser stores nothing.
  onComplete: async () => {
    const { functionKey } = await (await fetch("/.local/key")).json();
    if (functionKey) page.preauthorizeApiKey("functionKey", functionKey);
  },
});

// What Swagger UI leaves out for screen readers.
const LEVELS = { H3: 2, H4: 3, H5: 4, H6: 4 };

function all(selector, change) {
  document.querySelectorAll(selector).forEach(change);
}

function describe() {
  all("#servers", (servers) => { servers.ariaLabel = "Server"; });
  all(".opblock-body :is(input, select, textarea):not([aria-label])", (field) => {
    field.ariaLabel = field.closest("[data-param-name]")?.dataset.paramName ?? "Request body";
  });
  all("h3, h4, h5, h6", (heading) => { heading.ariaLevel = LEVELS[heading.tagName]; });
  all(".information-container", (part) => { part.role = "banner"; });
  all(".scheme-container", (part) => { part.role = "region"; part.ariaLabel = "Authorization"; });
  all(".responses-table", (part) => { part.role = "group"; });
  all(".dialog-ux:not([role])", describeDialog);
  // These labels hide the buttons' text.
  all(".auth-btn-wrapper [aria-label]", (button) => { button.ariaLabel = null; });
}

function describeDialog(dialog) {
  dialog.role = "dialog";
  dialog.ariaModal = true;
  dialog.ariaLabel = "Authorization";
  const close = dialog.querySelector(".close-modal");
  close.ariaLabel = "Close";
  // Swagger UI scrolls to the last field, past the function key.
  dialog.querySelector(".modal-ux-content").scrollTop = 0;
  close.focus();
}

new MutationObserver(describe).observe(document.body, { childList: true, subtree: true });
