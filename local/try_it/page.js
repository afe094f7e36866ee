// A file of its own: the page's policy allows no script inside the page.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  tryItOutEnabled: true,
  // By default the document would be shown to a validator on the internet.
  validatorUrl: null,
});
