// The page of a signed-in user: gets an access token, keeps it fresh, and lets the user revoke it.

import { AzureCommunicationTokenCredential } from "@azure/communication-common";
import * as page from "./page";
import { Me, Problem, type Identity, type NoIdentity } from "./service";
import { LocalSignIn, type SignIn } from "./sign_in";

const signIn: SignIn = new LocalSignIn();

/** From sign-in to sign-out. None of it is stored. */
interface Session {
  user: string;
  me: Me;
  end: AbortController;
  /** For Microsoft's calling and chat clients. Nothing else keeps the access token. */
  credential?: AzureCommunicationTokenCredential | undefined;
}

let current: Session | undefined;

async function enter(user: string): Promise<void> {
  const end = new AbortController();
  current = { user, end, me: new Me(signIn, page.watcher, end.signal) };
  page.showUser(user);
  await attempt(load, current);
}

/** Ends what is running, so that nothing of this user appears after the next one has signed in. */
function leave(reason: string): void {
  if (!current) return;
  disconnect(current);
  current.end.abort();
  current = undefined;
  page.showSignIn(reason);
}

async function load(session: Session): Promise<void> {
  const identity = await session.me.get();
  show(session, identity);
  if (identity.state === "active" && !session.credential) await connect(session);
}

function show(session: Session, identity: Identity | NoIdentity): void {
  if (identity.state !== "active") disconnect(session);
  page.showIdentity(identity);
}

/** Creates the credential. It gets its next token before the current one expires. */
async function connect(session: Session): Promise<void> {
  const first = await session.me.issueToken();
  disconnect(session);
  const credential = new AzureCommunicationTokenCredential({
    token: first.token,
    tokenRefresher: async () => {
      const next = await session.me.issueToken();
      if (session.credential === credential) page.showToken(next);
      return next.token;
    },
    refreshProactively: true,
  });
  session.credential = credential;
  page.showToken(first);
}

/** Stops refreshing. The last token stays valid until it expires or is revoked. */
function disconnect(session: Session): void {
  session.credential?.dispose();
  session.credential = undefined;
}

async function attempt(act: (session: Session) => Promise<void>, session: Session): Promise<void> {
  try {
    await act(session);
  } catch (error) {
    if (session !== current) return;
    const status = error instanceof Problem ? error.status : undefined;
    if (error instanceof Problem && status === 401) return leave(`${error.title}. ${error.detail}`);
    page.showProblem(error);
    if (act === load) return page.showIdentity({ state: "unknown" });
    // A service or another tab may have changed the identity.
    if (status === 403 || status === 404 || status === 409) await attempt(load, session);
  }
}

function whenClicked(id: string, act: (session: Session) => Promise<void>): void {
  page.onClick(id, async () => {
    if (current) await attempt(act, current);
  });
}

page.onSignIn(async (name) => enter(await signIn.signIn(name)));
whenClicked("retry", load);
whenClicked("refresh", connect);
whenClicked("create", async (session) => {
  await connect(session);
  await load(session);
});
whenClicked("restore", async (session) => {
  await session.me.restore();
  await load(session);
});
whenClicked("delete", async (session) => {
  if (await page.confirmDeletion()) show(session, await session.me.delete());
});
whenClicked("revoke", async (session) => {
  await session.me.revokeTokens();
  leave("Signed out everywhere: every token you had is revoked.");
  await signIn.signOut();
});
// Also while something else is running: it is ended.
page.onSignOut(async () => {
  leave("Signed out.");
  await signIn.signOut();
});

signIn.onOtherTab((user) => {
  if (current && user !== current.user)
    leave(user ? `In another tab, ${user} signed in.` : "You signed out in another tab.");
});

// The credential refreshes on its own, and nobody waits for the result.
addEventListener("unhandledrejection", (event) => {
  if (!current) return;
  event.preventDefault();
  void attempt(() => Promise.reject(event.reason), current);
});

const user = await signIn.restore();
if (user) await enter(user);
