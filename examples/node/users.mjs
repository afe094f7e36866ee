// Stands for your own users and your own sign-in. Everything is in memory.
import { randomBytes, randomUUID, scrypt, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

/** The request is refused with this HTTP status. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Users and their sessions. */
export class Users {
  #users = new Map();
  #sessions = new Map();

  /** Creates a user. */
  async signUp(name, password) {
    const user = {
      name,
      password: await hash(password),
      // For the identity service. A name can be changed, or given to another user.
      id: randomUUID(),
      // Whether the user has an identity, or a request for it has been sent.
      hasIdentity: false,
      // Whether the user's access tokens still have to be revoked.
      mustRevoke: false,
    };
    if (this.#users.has(name)) throw new Refused(409, "The name is taken");
    this.#users.set(name, user);
  }

  /** Returns a new session. */
  async signIn(name, password) {
    const user = this.#users.get(name) ?? (await NOBODY);
    await check(user, password);
    const session = randomBytes(32).toString("base64url");
    this.#sessions.set(session, user);
    return session;
  }

  /** Returns the user of the session. */
  signedIn(session) {
    const user = this.#sessions.get(session);
    if (!user) throw new Refused(401, "Sign in first");
    return user;
  }

  /** Changes the password, ends the user's other sessions, and marks the tokens. */
  async changePassword(session, password, newPassword) {
    const user = this.signedIn(session);
    await check(user, password);
    user.password = await hash(newPassword);
    user.mustRevoke = user.hasIdentity;
    this.#endSessions(user, session);
    return user;
  }

  /** Ends the session. If it was the user's last one, marks the tokens. */
  signOut(session) {
    const user = this.signedIn(session);
    this.#sessions.delete(session);
    if (![...this.#sessions.values()].includes(user)) user.mustRevoke = user.hasIdentity;
    return user;
  }

  /** Removes the user and ends the sessions. */
  remove(user) {
    this.#users.delete(user.name);
    this.#endSessions(user);
  }

  #endSessions(user, except) {
    for (const [session, each] of this.#sessions) {
      if (each === user && session !== except) this.#sessions.delete(session);
    }
  }
}

async function hash(password, salt = randomBytes(16)) {
  return { salt, key: await promisify(scrypt)(password, salt, 64) };
}

async function check(user, password) {
  const { key } = await hash(password, user.password.salt);
  if (!timingSafeEqual(key, user.password.key)) throw new Refused(401, "The name or the password is wrong");
}

// Takes as long to check as a user, so that the time does not say which names exist.
const NOBODY = hash(randomBytes(32)).then((password) => ({ password }));
