// The content of the page. It uses the service's types only.

import { Problem, type Deletion, type Identity, type IssuedToken, type OnCall } from "./service";

let current: IssuedToken | undefined;
let issuedAt = 0;

export function onSignIn(act: (user: string) => Promise<void>): void {
  const form = element("sign-in", HTMLFormElement);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void attempt(() => act(String(new FormData(form).get("user"))));
  });
}

export function onClick(id: string, act: () => Promise<void>): void {
  element(id).addEventListener("click", () => void attempt(act));
}

export function showUser(user: string): void {
  element("user").textContent = user;
  for (const id of ["user-id", "identity", "farewell"]) element(id).textContent = "";
  showNoToken("Signed in, without a token yet.");
  reveal({ "sign-in": false, me: true });
}

export function showIdentity(identity: Identity): void {
  element("user-id").textContent = identity.userId;
  element("identity").textContent = identity.id;
}

export function showToken(issued: IssuedToken): void {
  current = issued;
  issuedAt = Date.now();
  element("state").textContent = "Signed in, and ready to chat and call.";
  element("identity").textContent = issued.id;
  const scopes = scopesOf(issued.token).flatMap((scope) => [textIn("code", scope), " "]);
  element("scopes").replaceChildren(...scopes);
  element("token").textContent = `${issued.token.slice(0, 12)}…${issued.token.slice(-8)}`;
  element("expires").textContent = new Date(issued.expiresOn).toLocaleTimeString();
  tick();
}

export function showDeleted(deletion: Deletion): void {
  const until = new Date(deletion.scheduledPurgeOn).toLocaleDateString();
  showNoToken(`Deleted. You can be restored until ${until}.`);
}

export function showSignedOut(): void {
  showNoToken("");
  element("farewell").textContent = "Signed out everywhere: every token you had is revoked.";
  reveal({ "sign-in": true, me: false });
}

export const showCall: OnCall = (method, path, status) => {
  const call = textIn("li", `${method} ${path}`);
  call.append(textIn("output", String(status)));
  call.classList.toggle("refused", status >= 400);
  element("calls").querySelector("ol")?.prepend(call);
  reveal({ calls: true });
};

function showNoToken(state: string): void {
  current = undefined;
  element("state").textContent = state;
  for (const id of ["scopes", "token", "expires"]) element(id).textContent = "none";
  tick();
}

function showProblem(error: unknown): void {
  const problem =
    error instanceof Problem ? error : new Problem("No response", String(error), 0, "");
  const [title, detail, code] = element("problem").children;
  if (title) title.textContent = problem.title;
  if (detail) detail.textContent = problem.detail;
  if (code) code.textContent = [problem.status || "", problem.code].join(" ").trim();
  reveal({ problem: true });
}

/** Runs a button's action, with all buttons disabled until it ends. */
async function attempt(act: () => Promise<void>): Promise<void> {
  reveal({ problem: false });
  const buttons = [...document.querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  try {
    await act();
  } catch (error) {
    showProblem(error);
  }
  for (const button of buttons) button.disabled = false;
}

/** The time until Microsoft's credential asks for the next token. */
function tick(): void {
  const due = current ? Date.parse(current.refreshAfter) : 0;
  const left = Math.max(0, due - Date.now());
  const [minutes, seconds] = [Math.floor(left / 60_000), Math.floor(left / 1000) % 60];
  const text = `in ${minutes}:${String(seconds).padStart(2, "0")}`;
  element("countdown").textContent = current ? text : "none";
  element("progress", HTMLProgressElement).value = current ? left / (due - issuedAt) : 0;
}

/** The token's scopes. The token is not verified: use this for display only. */
function scopesOf(token: string): string[] {
  const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
  return String(JSON.parse(atob(payload)).acsScope ?? "").split(",");
}

function reveal(which: Record<string, boolean>): void {
  for (const [id, visible] of Object.entries(which)) element(id).hidden = !visible;
}

function textIn(tag: string, text: string): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function element<T extends HTMLElement>(
  id: string,
  kind: { new (): T } = HTMLElement as { new (): T },
): T {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`the page has no ${id}`);
}

setInterval(tick, 1000);
// An automatic refresh can fail too.
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  showProblem(event.reason);
});
