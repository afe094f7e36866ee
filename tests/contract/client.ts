// Calls the operations with the client that openapi-typescript generates from openapi.json.
// Compiling it is half of the test: the compiler checks names, types and problems.
import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { env: Record<string, string>; exitCode: number };

type Token = components["schemas"]["IssuedToken"];
type Scope = components["schemas"]["IssueToken"]["scopes"][number];

const env = process.env;
const statuses: Record<string, number[]> = {};
const record: Middleware = {
  onResponse({ request, response, schemaPath }) {
    (statuses[`${request.method} ${schemaPath}`] ??= []).push(response.status);
  },
};

const baseUrl = `${env.APP_URL}/api`;
const service = createClient<paths>({ baseUrl, headers: { "x-functions-key": env.FUNCTION_KEY } });
const user = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${env.SIGN_IN_TOKEN}` } });
service.use(record);
user.use(record);

function required<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`${what} is missing`);
  return value;
}

async function checkService() {
  const health = required((await service.GET("/health")).data, "health");
  const ready = required((await service.GET("/ready")).data, "ready");
  const status: "ok" | "not_configured" = health.status;
  if (status !== "ok" || ready.acs.status !== "ok") throw new Error("not ready");
  await service.GET("/openapi.json");
}

async function checkIdentity() {
  const made = await service.POST("/identities", { body: { userId: "typed-client" } });
  const id: string = required(made.data, "identity").id;
  if (!made.response.headers.get("Location")?.endsWith(id)) throw new Error("no Location");
  const path = { params: { path: { id } } };

  const scopes: Scope[] = ["chat", "voip"];
  await service.POST("/identities/with-token", { body: { scopes, expiresInMinutes: 60 } });
  const issued: Token = required((await service.POST("/identities/{id}/tokens", { ...path, body: { scopes } })).data, "token");
  if (new Date(issued.refreshAfter) >= new Date(issued.expiresOn)) throw new Error("refresh too late");
  await service.DELETE("/identities/{id}/tokens", path);

  const createdOn: string | undefined = required((await service.GET("/identities/{id}", path)).data, "identity").createdOn;
  if (!createdOn) throw new Error("no date");
  const page = required((await service.GET("/identities", { params: { query: { maxPageSize: 1 } } })).data, "page");
  const next: string | undefined = page.nextLink;
  if (page.value.length > 1 || !next) throw new Error("not a page of one");

  const deletion = required((await service.DELETE("/identities/{id}", path)).data, "deletion");
  if (deletion.deletedOn >= deletion.scheduledPurgeOn) throw new Error("purged too soon");
  const refused = await service.POST("/identities/{id}/tokens", { ...path, body: { scopes } });
  // The type of a problem includes its code, so the compiler knows all codes.
  if (refused.error?.code !== "identity_deleted") throw new Error("not refused");
  const conflict: 404 | 409 = refused.error.status;
  if (conflict !== 409) throw new Error("not a conflict");

  const deleted = required((await service.GET("/deleted-identities", { params: { query: { stuck: false } } })).data, "list");
  const state: "deleted" | "purging" | undefined = deleted.value[0]?.state;
  if (state !== "deleted") throw new Error("not listed");
  await service.GET("/deleted-identities/{id}", path);
  await service.POST("/deleted-identities/{id}/restore", path);
  await service.DELETE("/identities/{id}", path);
  await service.DELETE("/deleted-identities/{id}", path);
}

async function checkTeamsAccess() {
  const tenantId = "99999999-8888-7777-6666-555555555555";
  const objectId = "11111111-2222-3333-4444-555555555555";
  const path = { params: { path: { tenantId, objectId } } };
  const body = { principalType: "user", clientIds: ["22222222-3333-4444-5555-666666666666"] } as const;
  const made = await service.PUT("/teams/access/{tenantId}/{objectId}", { ...path, body: { ...body, clientIds: [...body.clientIds] } });
  const state: "assigning" | "assigned" | "removing" | "removed" | "unknown" = required(made.data, "access").state;
  if (state !== "assigned" || !made.response.headers.get("Location")?.endsWith(objectId)) throw new Error("not assigned");
  const query = { verify: true };
  const got = required((await service.GET("/teams/access/{tenantId}/{objectId}", { params: { path: path.params.path, query } })).data, "access");
  if (got.acs?.matches !== true) throw new Error("not verified");
  const listed = required((await service.GET("/teams/access", { params: { query: { tenantId } } })).data, "list");
  if (listed.value[0]?.objectId !== objectId) throw new Error("not listed");
  const imported = required((await service.POST("/teams/access/import", { body: { access: [{ tenantId, objectId }] } })).data, "import");
  if (imported.results[0]?.result !== "unchanged") throw new Error("not known");
  await service.DELETE("/teams/access/{tenantId}/{objectId}", path);
}

async function checkTeams() {
  const body = { token: env.ACS_TEAMS_USER_TOKEN, appId: env.ACS_TEAMS_APP_ID, userId: env.ACS_TEAMS_USER_ID };
  const exchanged = required((await service.POST("/teams/token", { body })).data, "token");
  if (!exchanged.token) throw new Error("no token");
  // A user cannot exchange another user's token.
  const foreign = await user.POST("/me/teams-token", { body: { token: env.ACS_TEAMS_USER_TOKEN } });
  if (foreign.error?.code !== "teams_token_refused") throw new Error("not refused");
}

async function checkMe() {
  const token: Token = required((await user.POST("/me/tokens", {})).data, "token");
  const me = required((await user.GET("/me")).data, "me");
  if (me.id !== token.id) throw new Error("another identity");
  await user.DELETE("/me/tokens");
  await user.DELETE("/me");
  await user.POST("/me/restore");
}

await checkService();
await checkIdentity();
await checkTeams();
await checkTeamsAccess();
await checkMe();
console.log(JSON.stringify(statuses));
