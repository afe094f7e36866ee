// The backend of an app: signs in the app's users, and gives them access tokens for ACS.
//
// Settings are environment variables. SERVICE_URL is the URL of the identity service, and SERVICE_KEY a key for it.
// Without a key, the backend calls with its managed identity; then SERVICE_APPLICATION is the client id of the service's
// app registration. PORT is 8080 by default.
import { createServer } from "node:http";
import { AccessTokens } from "./refresher.mjs";
import { Service, ServiceError, withEntra, withKey } from "./service.mjs";
import { Refused, Users } from "./users.mjs";

const BODY_LIMIT = 4096; // bytes

const tokens = new AccessTokens(new Service(process.env.SERVICE_URL, await authentication()));
const users = new Users();

// The operations. Each gets the session and the JSON body of a request.
const routes = {
  async "POST /users"(_session, body) {
    await users.signUp(text(body, "name"), text(body, "password"));
    return { status: 201 };
  },

  async "POST /session"(_session, body) {
    return { status: 201, cookie: await users.signIn(text(body, "name"), text(body, "password")) };
  },

  // Returns an access token, and the id of the user's identity in ACS.
  async "POST /token"(session) {
    const user = users.signedIn(session);
    await revoke(user);
    // Set before the request, because the response can be lost.
    user.hasIdentity = true;
    const { id, token } = await tokens.get(user.id);
    // Who has signed out in the meantime, or whose password has been changed, gets no token.
    users.signedIn(session);
    return { status: 200, content: { id, token } };
  },

  // Changes the password, ends all other sessions, and revokes the user's tokens.
  async "PUT /password"(session, body) {
    const user = await users.changePassword(session, text(body, "password"), text(body, "newPassword"));
    return tryToRevoke(user);
  },

  // Ends the session. The user's last session revokes the user's tokens.
  async "DELETE /session"(session) {
    return tryToRevoke(users.signOut(session));
  },

  // Deletes the identity, then the user, who can repeat the request if it fails.
  async "DELETE /account"(session) {
    const user = users.signedIn(session);
    await tokens.delete(user.id);
    users.remove(user);
    return { status: 204 };
  },
};

async function tryToRevoke(user) {
  try {
    await revoke(user);
    return { status: 204 };
  } catch {
    // The user's next token request repeats it.
    return { status: 202 };
  }
}

async function revoke(user) {
  if (!user.mustRevoke) return;
  // Cleared before, so that a mark that is set during the request stays.
  user.mustRevoke = false;
  try {
    await tokens.revoke(user.id);
  } catch (error) {
    user.mustRevoke = true;
    throw error;
  }
}

/** Calls the operation of a request, and returns its response. */
async function call(request) {
  try {
    const operation = routes[`${request.method} ${request.url}`];
    if (!operation) throw new Refused(404, "Not found");
    const session = /(?:^|; )session=([^;]*)/.exec(request.headers.cookie ?? "")?.[1];
    return await operation(session, await readBody(request));
  } catch (error) {
    if (error instanceof Refused) return { status: error.status, content: { error: error.message } };
    console.error(error);
    if (!(error instanceof ServiceError)) return { status: 500, content: { error: "Internal error" } };
    if (error.refusesUser) return { status: 403, content: { error: "Your identity is blocked" } };
    return { status: 503, content: { error: "Try again later" }, retryAfter: error.retryAfter };
  }
}

async function readBody(request) {
  let content = "";
  for await (const chunk of request.setEncoding("utf8")) {
    content += chunk;
    if (content.length > BODY_LIMIT) throw new Refused(413, "The body is too large");
  }
  try {
    return JSON.parse(content || "{}");
  } catch {
    throw new Refused(400, "The body is not JSON");
  }
}

function text(body, name) {
  const value = body?.[name];
  if (typeof value !== "string" || !value) throw new Refused(400, `${name} is missing`);
  return value;
}

/** How the backend authenticates: with its key, or else with its managed identity. */
async function authentication() {
  if (process.env.SERVICE_KEY) return withKey(process.env.SERVICE_KEY);
  const { ManagedIdentityCredential } = await import("@azure/identity");
  return withEntra(new ManagedIdentityCredential(), process.env.SERVICE_APPLICATION);
}

const server = createServer(async (request, response) => {
  const { status, content, cookie, retryAfter } = await call(request);
  response.writeHead(status, {
    "Cache-Control": "no-store",
    "Content-Type": "application/json",
    ...(retryAfter !== undefined && { "Retry-After": retryAfter }),
    // Strict: no other site can send requests with it.
    ...(cookie && { "Set-Cookie": `session=${cookie}; HttpOnly; Secure; SameSite=Strict; Path=/` }),
  });
  response.end(content && `${JSON.stringify(content)}\n`);
});
server.listen(process.env.PORT ?? 8080, "127.0.0.1", () =>
  console.log(`listening on http://localhost:${server.address().port}`),
);
