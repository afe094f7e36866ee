// A separate file: the page's Content-Security-Policy does not allow inline scripts.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  tryItOutEnabled: true,
  // By default Swagger UI sends the document to a validator on the internet.
  validatorUrl: null,
});
