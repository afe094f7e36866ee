// How the page signs its user in, and gets the bearer tokens with which the user calls the service.

import { claims, Problem, send } from "./service";

export interface SignIn {
  /** Returns the user who is still signed in, for example after a reload. */
  restore(): Promise<string | undefined>;

  /** Signs in, and returns the user's name. */
  signIn(name: string): Promise<string>;

  /**
   * Returns a bearer token that is valid now, and renews it before it expires. Ask before each
   * request instead of keeping a token. Throws a problem with status 401 if the user has to sign in.
   */
  token(): Promise<string>;

  signOut(): Promise<void>;

  /** Calls `act` when another tab has signed this user out (undefined), or someone in. */
  onOtherTab(act: (user: string | undefined) => void): void;
}

const RENEW_SECONDS_BEFORE_EXPIRY = 5 * 60;

/**
 * The local tenant: it signs in any name without a password, so to renew is to sign in again. It
 * has no session, so a reload ends it. Replace it with `MsalSignIn`.
 */
export class LocalSignIn implements SignIn {
  private session: { user: string; bearer?: string } | undefined;
  private readonly otherTabs = new BroadcastChannel("sign-in");

  async restore(): Promise<string | undefined> {
    return undefined;
  }

  async signIn(name: string): Promise<string> {
    this.session = { user: name };
    await this.token();
    this.otherTabs.postMessage(name);
    return name;
  }

  async token(): Promise<string> {
    // A sign-out or another sign-in can come while the request below is under way.
    const session = this.session;
    if (!session) throw new Problem("You are not signed in", "Sign in again.", 401);
    if (!session.bearer || secondsLeft(session.bearer) < RENEW_SECONDS_BEFORE_EXPIRY) {
      const body = JSON.stringify({ user: session.user });
      session.bearer = (await send<{ token: string }>("/.local/sign-in", { method: "POST", body })).token;
    }
    return session.bearer;
  }

  async signOut(): Promise<void> {
    this.session = undefined;
    this.otherTabs.postMessage(undefined);
  }

  onOtherTab(act: (user: string | undefined) => void): void {
    this.otherTabs.onmessage = (event: MessageEvent<string | undefined>) => act(event.data);
  }
}

function secondsLeft(token: string): number {
  return Number(claims(token)["exp"]) - Date.now() / 1000;
}
