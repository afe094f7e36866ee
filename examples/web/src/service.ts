// The identity service's API for signed-in users. No call takes an id: each is about the user's own identity.

import type { SignIn } from "./sign_in";

export interface Identity {
  id: string;
  userId: string;
  state: "active" | "suspended";
}

export interface NoIdentity {
  state: "none" | "deleted" | "deleted-by-service";
  /** When a deleted identity is purged, if that is known. */
  scheduledPurgeOn?: string;
}

export interface IssuedToken {
  id: string;
  token: string;
  expiresOn: string;
  refreshAfter: string;
}

interface Deletion {
  deletedBy: string;
  scheduledPurgeOn: string;
}

/** Why a call failed, in words. Status 0: no response. */
export class Problem extends Error {
  constructor(
    readonly title: string,
    readonly detail: string,
    readonly status: number,
    readonly code = "",
    readonly deletedBy = "",
    readonly retryAfter?: number,
  ) {
    super(title);
  }
}

/** What the page shows of the calls. */
export interface Watcher {
  called(method: string, path: string, status: number): void;
  waiting(reason: Problem, seconds: number): void;
}

const RETRIES = 3;
const LONGEST_WAIT_SECONDS = 60;
// The service responds within ten seconds.
const TIMEOUT_MS = 15_000;

/** The operations of a user. The signal ends those that are running when the user leaves. */
export class Me {
  constructor(
    private readonly signIn: SignIn,
    private readonly watcher: Watcher,
    private readonly signal: AbortSignal,
  ) {}

  /** Returns the user's identity, or why there is none. */
  async get(): Promise<Identity | NoIdentity> {
    try {
      return await this.call<Identity>("GET", "/api/me");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.code === "identity_not_found") return { state: "none" };
      if (error.code !== "identity_deleted") throw error;
      return { state: stateOf(error.deletedBy) };
    }
  }

  /** The first token creates the identity. */
  issueToken = () => this.call<IssuedToken>("POST", "/api/me/tokens");
  revokeTokens = () => this.call<void>("DELETE", "/api/me/tokens");
  restore = () => this.call<Identity>("POST", "/api/me/restore");

  async delete(): Promise<NoIdentity> {
    const { deletedBy, scheduledPurgeOn } = await this.call<Deletion>("DELETE", "/api/me");
    return { state: stateOf(deletedBy), scheduledPurgeOn };
  }

  /** Every operation can be repeated safely, so a call that fails for the moment is. */
  private async call<T>(method: string, path: string): Promise<T> {
    for (let retry = 0; ; retry++) {
      try {
        return await this.callOnce<T>(method, path);
      } catch (error) {
        this.signal.throwIfAborted();
        const seconds = retry < RETRIES ? secondsToWait(error, retry) : undefined;
        if (seconds === undefined) throw error;
        this.watcher.waiting(error as Problem, seconds);
        await pause(seconds, this.signal);
      }
    }
  }

  private async callOnce<T>(method: string, path: string): Promise<T> {
    const headers = { Authorization: `Bearer ${await this.signIn.token()}` };
    const called = (status: number) => this.watcher.called(method, path, status);
    return send<T>(path, { method, headers, signal: this.signal }, called);
  }
}

/** Sends a request and returns the content of the response, or throws a problem. */
export async function send<T>(
  path: string,
  { signal, ...request }: RequestInit,
  called?: (status: number) => void,
): Promise<T> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response, text: string;
  try {
    response = await fetch(path, {
      ...request,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    text = await response.text();
  } catch {
    throw new Problem("No response", "Are you offline? Try again.", 0);
  }
  called?.(response.status);
  if (response.ok) return JSON.parse(text || "null") as T;
  throw problemOf(response, text);
}

/** Only a service can restore what a service has deleted. */
function stateOf(deletedBy: string): NoIdentity["state"] {
  return deletedBy === "service" ? "deleted-by-service" : "deleted";
}

/**
 * Retry-After decides. A page of another origin cannot read it, and not every error has it: then
 * after a second, after two, after four.
 */
function secondsToWait(error: unknown, retry: number): number | undefined {
  if (!(error instanceof Problem)) return undefined;
  const isTemporary = [0, 429, 500, 502, 503, 504].includes(error.status);
  const seconds = error.retryAfter ?? (isTemporary ? 2 ** retry : undefined);
  return seconds !== undefined && seconds <= LONGEST_WAIT_SECONDS ? seconds : undefined;
}

/** The service describes a problem (RFC 9457). The platform in front of it only has a status. */
function problemOf(response: Response, text: string): Problem {
  const { status, headers } = response;
  const isDescribed = headers.get("Content-Type")?.startsWith("application/problem+json");
  const { title, detail, code, deletedBy } = isDescribed
    ? (JSON.parse(text) as Record<string, string | undefined>)
    : status === 401
      ? { title: "Your sign-in has ended", detail: "Sign in again." }
      : { title: "The service does not respond", detail: "Try again later." };
  const seconds = Number.parseInt(headers.get("Retry-After") ?? "", 10);
  return new Problem(
    title ?? "The call failed",
    detail ?? "",
    status,
    code,
    deletedBy,
    Number.isNaN(seconds) ? undefined : seconds,
  );
}

function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Reads a token's claims without verifying them: they prove nothing. */
export function claims(token: string): Record<string, unknown> {
  const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
  return JSON.parse(atob(payload)) as Record<string, unknown>;
}
