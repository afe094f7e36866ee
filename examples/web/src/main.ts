// A signed-in user's page: keeps an access token, shows it, and lets its user end it.

import { AzureCommunicationTokenCredential } from "@azure/communication-common";
import { Me, Problem, signIn, type Deletion, type IssuedToken } from "./service";
import * as page from "./page";

let me: Me | undefined;
let credential: AzureCommunicationTokenCredential | undefined;

/** What Microsoft's calling and chat clients take: it gets the next token before this one ends. */
async function connect(me: Me): Promise<void> {
  const first = await issueToken(me);
  disconnect();
  credential = new AzureCommunicationTokenCredential({
    token: first.token,
    tokenRefresher: async () => (await issueToken(me)).token,
    refreshProactively: true,
  });
}

/** Ends the refreshing; what the last token still opens is for the service to end. */
function disconnect(): void {
  credential?.dispose();
  credential = undefined;
}

async function issueToken(me: Me): Promise<IssuedToken> {
  const issued = await me.issueToken();
  page.showToken(issued);
  return issued;
}

page.onSignIn(async (user) => {
  me = new Me(await signIn(user, page.told), page.told);
  page.showUser(user);
  await connect(me);
  page.showIdentity(await me.get());
});

page.onClick("refresh", () => whoIsSignedIn(connect));

page.onClick("sign-out", () =>
  whoIsSignedIn(async (signedIn) => {
    await signedIn.revokeTokens();
    disconnect();
    me = undefined;
    page.showSignedOut();
  }),
);

page.onClick("delete", () =>
  whoIsSignedIn(async (signedIn) => {
    const deletion: Deletion = await signedIn.delete();
    disconnect();
    page.showDeleted(deletion);
  }),
);

page.onClick("restore", () =>
  whoIsSignedIn(async (signedIn) => {
    page.showIdentity(await signedIn.restore());
    await connect(signedIn);
  }),
);

async function whoIsSignedIn(act: (me: Me) => Promise<void>): Promise<void> {
  if (!me) throw new Problem("Nobody is signed in", "Sign in first.", 401, "");
  await act(me);
}
