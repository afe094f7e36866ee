// The identity service's API for signed-in users.

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

/** An error of the service (RFC 9457). */
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

export type OnCall = (method: string, path: string, status: number) => void;

/** Local only: signs in any user by name. In Azure, use MSAL's acquireTokenSilent instead. */
export async function signIn(user: string, onCall: OnCall): Promise<string> {
  const { token } = await call<{ token: string }>("POST", "/.local/sign-in", onCall, {}, { user });
  return token;
}

/** The operations of a user, on their own identity: no call takes an id. */
export class Me {
  constructor(
    private readonly bearer: string,
    private readonly onCall: OnCall,
  ) {}

  get = () => this.call<Identity>("GET", "/api/me");
  issueToken = () => this.call<IssuedToken>("POST", "/api/me/tokens");
  revokeTokens = () => this.call<void>("DELETE", "/api/me/tokens");
  delete = () => this.call<Deletion>("DELETE", "/api/me");
  restore = () => this.call<Identity>("POST", "/api/me/restore");

  private call<T>(method: string, path: string): Promise<T> {
    return call<T>(method, path, this.onCall, { Authorization: `Bearer ${this.bearer}` });
  }
}

async function call<T>(
  method: string,
  path: string,
  onCall: OnCall,
  headers: Record<string, string>,
  body?: object,
): Promise<T> {
  const content = body ? JSON.stringify(body) : null;
  const response = await fetch(path, { method, headers, body: content });
  onCall(method, path, response.status);
  const text = await response.text();
  if (response.ok) return (text ? JSON.parse(text) : undefined) as T;
  throw problem(response, text);
}

function problem(response: Response, text: string): Problem {
  const isProblem = response.headers.get("Content-Type")?.startsWith("application/problem+json");
  const { title, detail, code } = isProblem ? JSON.parse(text) : ({} as Record<string, string>);
  // Without a body, the platform in front of the app refused the request.
  const fallback = response.status === 401 ? "Your sign-in has expired" : "No response";
  return new Problem(title ?? fallback, detail ?? "Sign in again.", response.status, code ?? "");
}
