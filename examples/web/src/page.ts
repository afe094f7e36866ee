// What the page shows. It calls nothing.

import { claims, Problem } from "./service";
import type { Identity, IssuedToken, NoIdentity, Watcher } from "./service";

type Shown = Identity | NoIdentity | { state: "unknown" };

const CALLS_SHOWN = 8;
const STATES: Record<Shown["state"], string> = {
  unknown: "The state of your identity is not known.",
  none: "You have no identity yet.",
  active: "Ready to chat and call.",
  suspended: "Your identity is suspended. Only the service can resume it.",
  deleted: "You deleted your identity.",
  "deleted-by-service": "The service deleted your identity. Only the service can restore it.",
};

let issued: { at: number; refreshAfter: number } | undefined;

export function onSignIn(act: (name: string) => Promise<void>): void {
  const form = element("sign-in", HTMLFormElement);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void whileBusy(form, () => act(String(new FormData(form).get("user"))));
  });
}

export function onClick(id: string, act: () => Promise<void>): void {
  element(id).addEventListener("click", () => void whileBusy(element("me"), act));
}

export function onSignOut(act: () => Promise<void>): void {
  element("sign-out").addEventListener("click", () => void act().catch(showProblem));
}

export function showUser(user: string): void {
  change(() => {
    element("user").textContent = user;
    element("state").textContent = "";
    reveal({ "sign-in": false, me: true, identity: false, token: false });
    offer("");
  });
}

export function showSignIn(reason: string): void {
  change(() => {
    forgetToken();
    element("confirm", HTMLDialogElement).close();
    for (const id of ["wait", "user", "user-id", "id"]) element(id).textContent = "";
    element("reason").textContent = reason;
    reveal({ "sign-in": true, me: false, problem: false });
  });
}

export function showIdentity(identity: Shown): void {
  change(() => {
    const known = "id" in identity;
    element("state").textContent = `${STATES[identity.state]} ${restorableUntil(identity)}`;
    element("user-id").textContent = known ? identity.userId : "";
    element("id").textContent = known ? identity.id : "";
    if (identity.state !== "active") forgetToken();
    reveal({ identity: known });
    offer(identity.state);
  });
}

function restorableUntil(identity: Shown): string {
  if (identity.state !== "deleted" || !identity.scheduledPurgeOn) return "";
  return `You can restore it until ${new Date(identity.scheduledPurgeOn).toLocaleDateString()}.`;
}

/** Shows what the token is good for. The token itself is a secret: it is neither shown nor kept. */
export function showToken({ token, expiresOn, refreshAfter }: IssuedToken): void {
  issued = { at: Date.now(), refreshAfter: Date.parse(refreshAfter) };
  const scopes = String(claims(token)["acsScope"]).split(",");
  element("scopes").replaceChildren(...scopes.flatMap((scope) => [textIn("code", scope), " "]));
  element("expires").textContent = new Date(expiresOn).toLocaleTimeString();
  reveal({ token: true });
  tick();
}

export const watcher: Watcher = {
  called(method, path, status) {
    element("wait").textContent = "";
    const call = textIn("li", `${method} ${path}`);
    call.append(textIn("b", String(status)));
    call.classList.toggle("refused", status >= 400);
    const list = element("calls").querySelector("ol");
    list?.prepend(call);
    list?.children[CALLS_SHOWN]?.remove();
    reveal({ calls: true });
  },
  waiting(reason, seconds) {
    element("wait").textContent = `${reason.title}. Trying again in ${seconds} s.`;
  },
};

export function showProblem(error: unknown): void {
  const isProblem = error instanceof Problem;
  const [title, detail, code] = element("problem").children;
  if (!title || !detail || !code) return;
  element("wait").textContent = "";
  title.textContent = isProblem ? error.title : "Something went wrong";
  detail.textContent = isProblem ? error.detail : String(error);
  code.textContent = isProblem ? [error.status || "", error.code].join(" ").trim() : "";
  reveal({ problem: true });
}

export function confirmDeletion(): Promise<boolean> {
  const dialog = element("confirm", HTMLDialogElement);
  dialog.returnValue = ""; // What Escape leaves unchanged.
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }),
  );
}

/** Ignores clicks until the action ends. A disabled button would lose the keyboard's focus. */
async function whileBusy(area: HTMLElement, act: () => Promise<void>): Promise<void> {
  if (area.ariaBusy === "true") return;
  area.ariaBusy = "true";
  reveal({ problem: false });
  await act().catch(showProblem);
  area.ariaBusy = "false";
}

/** Changes the page. If what had the focus disappears, the focus goes to what is there instead. */
function change(how: () => void): void {
  const focused = document.activeElement;
  how();
  if (!focused || focused.checkVisibility()) return;
  const form = element("sign-in", HTMLFormElement);
  if (form.hidden) element("user").focus();
  else form.querySelector("input")?.focus();
}

/** Shows the buttons that this state allows. */
function offer(state: string): void {
  for (const button of document.querySelectorAll<HTMLElement>("[data-when]"))
    button.hidden = button.dataset["when"] !== state;
}

function forgetToken(): void {
  issued = undefined;
  reveal({ token: false });
}

/** The time until Microsoft's credential asks for the next token. */
function tick(): void {
  if (!issued) return;
  const left = Math.max(0, issued.refreshAfter - Date.now());
  const [minutes, seconds] = [Math.floor(left / 60_000), Math.floor(left / 1000) % 60];
  element("countdown").textContent = `in ${minutes}:${String(seconds).padStart(2, "0")}`;
  element("progress", HTMLProgressElement).value = left / (issued.refreshAfter - issued.at);
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
