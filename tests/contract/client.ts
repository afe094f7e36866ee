// Calls through every operation with the client that openapi-typescript makes of openapi.json.
// That it compiles is half of the test: names, shapes and problems are checked by the compiler.
import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { env: Record<string, string>; exitCode: number };

type Token = components["schemas"]["IssuedToken"];
type Scope = components["schemas"]["IssueToken"]["scopes"][number];

const env = process.env;
const answered: Record<string, number[]> = {};
const record: Middleware = {
  onResponse({ request, response, schemaPath }) {
    (answered[`${request.method} ${schemaPath}`] ??= []).push(response.status);
  },
};

const baseUrl = `${env.APP_URL}/api`;
const service = createClient<paths>({ baseUrl, headers: { "x-functions-key": env.FUNCTION_KEY } });
const user = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${env.SIGN_IN_TOKEN}` } });
service.use(record);
user.use(record);

function the<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`${what} is missing`);
  return value;
}

async function aboutTheService() {
  const health = the((await service.GET("/health")).data, "health");
  const ready = the((await service.GET("/ready")).data, "ready");
  const status: "ok" | "not_configured" = health.status;
  if (status !== "ok" || ready.acs.status !== "ok") throw new Error("not well");
  await service.GET("/openapi.json");
}

async function anIdentity() {
  const made = await service.POST("/identities", { body: { userId: "a user of the client" } });
  const id: string = the(made.data, "identity").id;
  if (!made.response.headers.get("Location")?.endsWith(id)) throw new Error("no Location");
  const path = { params: { path: { id } } };

  const scopes: Scope[] = ["chat", "voip"];
  const both = await service.POST("/identities/with-token", { body: { scopes, expiresInMinutes: 60 } });
  const issued: Token = the((await service.POST("/identities/{id}/tokens", { ...path, body: { scopes } })).data, "token");
  if (new Date(issued.refreshAfter) >= new Date(issued.expiresOn)) throw new Error("refresh too late");
  await service.DELETE("/identities/{id}/tokens", path);

  const since: string | undefined = the((await service.GET("/identities/{id}", path)).data, "identity").createdOn;
  if (!since) throw new Error("no date");
  const page = the((await service.GET("/identities", { params: { query: { maxPageSize: 1 } } })).data, "page");
  const next: string | undefined = page.nextLink;
  if (page.value.length > 1 || !next) throw new Error("not a page of one");

  const deletion = the((await service.DELETE("/identities/{id}", path)).data, "deletion");
  if (deletion.deletedOn >= deletion.scheduledPurgeOn) throw new Error("purged too soon");
  const refused = await service.POST("/identities/{id}/tokens", { ...path, body: { scopes } });
  // Every problem has its code in its type: the compiler knows which there are.
  if (refused.error?.code !== "identity_deleted") throw new Error("not refused");
  const conflict: 404 | 409 = refused.error.status;
  if (conflict !== 409) throw new Error("not a conflict");

  const listed = the((await service.GET("/deleted-identities", { params: { query: { stuck: false } } })).data, "list");
  const state: "deleted" | "purging" | undefined = listed.value[0]?.state;
  if (state !== "deleted") throw new Error("not listed");
  await service.GET("/deleted-identities/{id}", path);
  await service.POST("/deleted-identities/{id}/restore", path);
  await service.DELETE("/identities/{id}", path);
  await service.DELETE("/deleted-identities/{id}", path);
  return both;
}

async function aTeamsUser() {
  const body = { token: env.ACS_TEAMS_USER_TOKEN, appId: env.ACS_TEAMS_APP_ID, userId: env.ACS_TEAMS_USER_ID };
  const exchanged = the((await service.POST("/teams/token", { body })).data, "token");
  if (!exchanged.token) throw new Error("no token");
  // Another user's token is not one's own.
  const stolen = await user.POST("/me/teams-token", { body: { token: env.ACS_TEAMS_USER_TOKEN } });
  if (stolen.error?.code !== "teams_token_refused") throw new Error("not refused");
}

async function oneself() {
  const token: Token = the((await user.POST("/me/tokens", {})).data, "token");
  const me = the((await user.GET("/me")).data, "me");
  if (me.id !== token.id) throw new Error("somebody else");
  await user.DELETE("/me/tokens");
  await user.DELETE("/me");
  await user.POST("/me/restore");
}

await aboutTheService();
await anIdentity();
await aTeamsUser();
await oneself();
console.log(JSON.stringify(answered));
