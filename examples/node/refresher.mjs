// Access tokens for your users, each reused until it must be refreshed.
//
//   const tokens = new AccessTokens(new Service("https://APP.azurewebsites.net", withKey(key)));
//   const { token } = await tokens.get("alice");
//
// Microsoft's clients can refresh with it, for example in a bot:
//
//   new AzureCommunicationTokenCredential({ tokenRefresher: tokens.refresher("bot") });

import { ServiceError } from "./service.mjs";

/** The access tokens of your users. */
export class AccessTokens {
  #service;
  #scopes;
  #users;
  // Per user id: the token, the request for the next one, and the last error with the time of the next try.
  #entries = new Map();

  /**
   * `scopes` are those of every token: for other scopes, create another object. The tokens of so many `users` are kept.
   * Those of the users who asked least recently are dropped.
   */
  constructor(service, { scopes = ["chat"], users = 10_000 } = {}) {
    this.#service = service;
    this.#scopes = scopes;
    this.#users = users;
  }

  /**
   * Returns a valid token: { token, expiresOn, refreshAfter, id }, where `id` is the user's identity. The first call for
   * a user creates it. If the service fails, the last token is returned until it expires.
   */
  async get(userId) {
    const entry = this.#entry(userId);
    const now = this.#service.now();
    // In its last second, a token would expire on its way.
    const valid = entry.token && now < Date.parse(entry.token.expiresOn) - 1000 ? entry.token : undefined;
    if (valid) {
      const isFresh = now < Math.max(Date.parse(valid.refreshAfter), entry.notBefore);
      if (isFresh || entry.request) return valid;
    }
    if (entry.error && now < entry.notBefore) throw entry.error;
    // All callers of a user wait for the same request.
    entry.request ??= this.#refresh(userId, entry, valid).finally(() => (entry.request = undefined));
    return entry.request;
  }

  /** Returns a `tokenRefresher` for Microsoft's AzureCommunicationTokenCredential. */
  refresher(userId) {
    return async (abortSignal) => (await unlessAborted(this.get(userId), abortSignal)).token;
  }

  /** Drops the user's token. A request that is under way does not bring it back. */
  forget(userId) {
    this.#entries.delete(userId);
  }

  /** Revokes all of the user's tokens, on every device. The next `get` returns a new one. */
  async revoke(userId) {
    try {
      await this.#onIdentity(userId, "/tokens");
    } catch (error) {
      // The tokens of a suspended, deleted or lost identity are revoked already.
      if (!error.refusesUser) throw error;
    }
  }

  /**
   * Deletes the user's identity. From now on, this user id gets no token.
   *
   * A user without an identity gets one first. It blocks the user id: a token request that is under way cannot create
   * an identity that nobody would delete.
   */
  async delete(userId) {
    try {
      await this.#onIdentity(userId, "");
    } catch (error) {
      if (error.code !== "identity_deleted") throw error;
    }
  }

  async #onIdentity(userId, path) {
    try {
      const { id } = await this.#service.send("POST", "identities", { userId });
      await this.#service.send("DELETE", `identities/${encodeURIComponent(id)}${path}`);
    } finally {
      this.forget(userId);
    }
  }

  #entry(userId) {
    const entry = this.#entries.get(userId) ?? { failures: 0, notBefore: 0 };
    // A Map has its keys in the order in which they were set.
    this.#entries.delete(userId);
    this.#entries.set(userId, entry);
    if (this.#entries.size > this.#users) this.#entries.delete(this.#entries.keys().next().value);
    return entry;
  }

  async #refresh(userId, entry, valid) {
    try {
      // With a valid token, nobody has to wait for a second attempt.
      const token = await this.#issue(userId, valid && 1);
      Object.assign(entry, { token, error: undefined, failures: 0, notBefore: 0 });
      return token;
    } catch (error) {
      if (error.refusesUser) entry.token = valid = undefined;
      if (error.temporary || valid) {
        entry.error = error;
        entry.failures += 1;
        entry.notBefore = this.#service.now() + error.pause(entry.failures) * 1000;
      }
      if (valid) return valid;
      throw error;
    }
  }

  async #issue(userId, attempts) {
    const body = { userId, scopes: this.#scopes };
    const token = await this.#service.send("POST", "identities/with-token", body, attempts);
    if (!token?.token || !Date.parse(token.expiresOn) || !Date.parse(token.refreshAfter)) {
      throw new ServiceError("No valid response: it is not a token");
    }
    return token;
  }
}

/** Ends the wait of one caller. The request goes on, because others may wait for it. */
function unlessAborted(request, signal) {
  if (!signal) return request;
  return new Promise((resolve, reject) => {
    const abort = () => reject(new DOMException("The wait for a token was aborted", "AbortError"));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    request.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
