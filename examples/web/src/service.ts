// The identity service, as a signed-in user sees it.

export interface Identity {
  id: string;
  userId: string;
  createdOn: string;
}

export interface IssuedToken {
  id: string;
  token: string;
  expiresOn: string;
  refreshAfter: string;
}

export interface Deletion {
  id: string;
  deletedOn: string;
  scheduledPurgeOn: string;
}

/** What the service answers instead of a result (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly title: string,
    readonly detail: string,
    readonly status: number,
    readonly code: string,
  ) {
    super(title);
  }
}

export type Told = (method: string, path: string, status: number) => void;

/** On loopback whoever says a name is signed in. In Azure, MSAL's acquireTokenSilent stands here. */
export async function signIn(user: string, told: Told): Promise<string> {
  const answer = await ask<{ token: string }>("POST", "/.local/sign-in", told, {}, { user });
  return answer.token;
}

/** What users may do, each with their own identity: no call takes an id. */
export class Me {
  constructor(
    private readonly bearer: string,
    private readonly told: Told,
  ) {}

  get = () => this.ask<Identity>("GET", "/api/me");
  issueToken = () => this.ask<IssuedToken>("POST", "/api/me/tokens");
  revokeTokens = () => this.ask<void>("DELETE", "/api/me/tokens");
  delete = () => this.ask<Deletion>("DELETE", "/api/me");
  restore = () => this.ask<Identity>("POST", "/api/me/restore");

  private ask<T>(method: string, path: string): Promise<T> {
    return ask<T>(method, path, this.told, { Authorization: `Bearer ${this.bearer}` });
  }
}

async function ask<T>(
  method: string,
  path: string,
  told: Told,
  headers: Record<string, string>,
  body?: object,
): Promise<T> {
  const content = body ? JSON.stringify(body) : null;
  const response = await fetch(path, { method, headers, body: content });
  told(method, path, response.status);
  const text = await response.text();
  if (response.ok) return (text ? JSON.parse(text) : undefined) as T;
  throw problem(response, text);
}

function problem(response: Response, text: string): Problem {
  const isProblem = response.headers.get("Content-Type")?.startsWith("application/problem+json");
  const { title, detail, code } = isProblem ? JSON.parse(text) : ({} as Record<string, string>);
  // Without a body it was not the app that refused, but the platform in front of it.
  const unsaid = response.status === 401 ? "Your sign-in is no longer good" : "No answer";
  return new Problem(title ?? unsaid, detail ?? "Sign in again.", response.status, code ?? "");
}
