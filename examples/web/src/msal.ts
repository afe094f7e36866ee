// Sign-in with Microsoft Entra ID. This page does not use it: the local tenant speaks no OpenID Connect.

import {
  createStandardPublicClientApplication,
  EventType,
  InteractionRequiredAuthError,
  type AccountInfo,
  type IPublicClientApplication,
} from "@azure/msal-browser";
import { Problem } from "./service";
import type { SignIn } from "./sign_in";

export class MsalSignIn implements SignIn {
  // Not MSAL's active account: all tabs share that one, so it can become another user's.
  private account: AccountInfo | undefined;

  private constructor(
    private readonly msal: IPublicClientApplication,
    private readonly scopes: string[],
  ) {}

  /** `scope` is what the service's app registration exposes, such as `api://CLIENT_ID/user_impersonation`. */
  static async create(tenantId: string, clientId: string, scope: string): Promise<MsalSignIn> {
    const msal = await createStandardPublicClientApplication({
      auth: {
        clientId,
        authority: `https://login.microsoftonline.com/${tenantId}`,
        // A page of yours that only calls broadcastResponseToMainFrame().
        redirectUri: new URL("redirect.html", document.baseURI).href,
      },
      // The tabs share one sign-in. MSAL encrypts its cache with a key in a session cookie.
      cache: { cacheLocation: "localStorage" },
    });
    return new MsalSignIn(msal, [scope]);
  }

  async restore(): Promise<string | undefined> {
    this.account = this.msal.getActiveAccount() ?? undefined;
    return this.account?.username;
  }

  async signIn(name: string): Promise<string> {
    const { account } = await this.msal.loginPopup({ scopes: this.scopes, loginHint: name });
    this.account = account;
    this.msal.setActiveAccount(account);
    return account.username;
  }

  async token(): Promise<string> {
    if (!this.account) throw new Problem("You are not signed in", "Sign in again.", 401);
    try {
      // From the cache, or renewed if it expires within five minutes.
      const request = { scopes: this.scopes, account: this.account };
      return (await this.msal.acquireTokenSilent(request)).accessToken;
    } catch (error) {
      if (!(error instanceof InteractionRequiredAuthError)) throw error;
      throw new Problem("Your sign-in has ended", "Sign in again.", 401);
    }
  }

  async signOut(): Promise<void> {
    const account = this.account ?? null;
    this.account = undefined;
    await this.msal.logoutPopup({ account });
  }

  onOtherTab(act: (user: string | undefined) => void): void {
    const types = [EventType.LOGIN_SUCCESS, EventType.LOGOUT_SUCCESS];
    this.msal.addEventCallback(({ eventType, payload }) => {
      // MSAL has one type for all payloads. That of a sign-in is the account.
      const signedIn = eventType === EventType.LOGIN_SUCCESS ? (payload as AccountInfo) : undefined;
      act(signedIn?.username);
    }, types);
  }
}
