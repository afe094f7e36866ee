// The page of a signed-in user: gets an access token, keeps it fresh, shows it, and lets the user revoke it.

import { AzureCommunicationTokenCredential } from "@azure/communication-common";
import { Me, Problem, signIn, type Deletion, type IssuedToken } from "./service";
import * as page from "./page";

let me: Me | undefined;
let credential: AzureCommunicationTokenCredential | undefined;

/** Creates the credential for Microsoft's calling and chat clients. It refreshes the token before it expires. */
async function connect(me: Me): Promise<void> {
  const first = await issueToken(me);
  disconnect();
  credential = new AzureCommunicationTokenCredential({
    token: first.token,
    tokenRefresher: async () => (await issueToken(me)).token,
    refreshProactively: true,
  });
}

/** Stops refreshing. The current token stays valid until the service revokes it. */
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
  me = new Me(await signIn(user, page.showCall), page.showCall);
  page.showUser(user);
  await connect(me);
  page.showIdentity(await me.get());
});

page.onClick("refresh", () => whenSignedIn(connect));

page.onClick("sign-out", () =>
  whenSignedIn(async (signedIn) => {
    await signedIn.revokeTokens();
    disconnect();
    me = undefined;
    page.showSignedOut();
  }),
);

page.onClick("delete", () =>
  whenSignedIn(async (signedIn) => {
    const deletion: Deletion = await signedIn.delete();
    disconnect();
    page.showDeleted(deletion);
  }),
);

page.onClick("restore", () =>
  whenSignedIn(async (signedIn) => {
    page.showIdentity(await signedIn.restore());
    await connect(signedIn);
  }),
);

async function whenSignedIn(act: (me: Me) => Promise<void>): Promise<void> {
  if (!me) throw new Problem("Not signed in", "Sign in first.", 401, "");
  await act(me);
}
