// Tries the page in a real browser as a person would, and prints what was seen.
import { chromium } from "playwright-core";

const { APP_URL, FUNCTION_KEY, CHROMIUM, PROFILE, SCREENSHOT } = process.env;
const seen = { troubles: [], origins: [] };

const browser = await chromium.launchPersistentContext(PROFILE, {
  executablePath: CHROMIUM,
  headless: true,
  viewport: { width: 1000, height: 1000 },
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const page = browser.pages()[0];
  page.setDefaultTimeout(30_000);
  page.on("console", (said) => {
    if (said.type() === "error") seen.troubles.push(said.text());
  });
  page.on("pageerror", (error) => seen.troubles.push(String(error)));
  page.on("request", (request) => {
    const origin = new URL(request.url()).origin;
    if (request.url().startsWith("http") && !seen.origins.includes(origin)) seen.origins.push(origin);
  });

  await page.goto(`${APP_URL}/docs`);
  await page.getByRole("button", { name: "Authorize" }).first().click();
  const dialog = page.locator(".dialog-ux");
  await dialog.locator("input").first().fill(FUNCTION_KEY);
  await dialog.getByRole("button", { name: "Apply credentials" }).first().click();
  await dialog.getByRole("button", { name: "Close" }).last().click();

  // The picture in the README shows the page before anything secret stands on it.
  if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT });

  const operation = page.locator("#operations-Identities-create_identity_with_token");
  await operation.locator(".opblock-summary-control").click();
  await operation.getByRole("button", { name: "Execute" }).click();
  const answer = operation.locator(".live-responses-table .response");
  seen.status = (await answer.locator(".response-col_status").innerText()).trim();
  seen.body = JSON.parse(await answer.locator(".microlight, .highlight-code pre, pre").first().innerText());
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
