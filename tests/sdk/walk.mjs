// Walks through all operations with Microsoft's JavaScript SDK, and prints what came of them as JSON.
// Its argument chooses the credential; everything else comes in the environment.

import { CommunicationIdentityClient } from "@azure/communication-identity";
import { AzureKeyCredential } from "@azure/core-auth";
import { DefaultAzureCredential } from "@azure/identity";

const env = process.env;

const connect = {
  connectionString: () => new CommunicationIdentityClient(env.ACS_CONNECTION_STRING),
  key: () =>
    new CommunicationIdentityClient(env.ACS_ENDPOINT, new AzureKeyCredential(env.ACS_KEY)),
  defaultAzureCredential: () =>
    new CommunicationIdentityClient(env.ACS_ENDPOINT, new DefaultAzureCredential()),
};

const client = connect[process.argv[2]]();
const hour = { tokenExpiresInMinutes: 60 };

const created = await client.createUser();
const issued = await client.getToken(created, ["chat.join", "voip.join"], hour);

const both = await client.createUserAndToken(["chat", "voip"], hour);

const revoked = await client.createUserAndToken(["voip"]);
await client.revokeTokens(revoked.user);

const deleted = await client.createUserAndToken(["voip"]);
await client.deleteUser(deleted.user);

const exchanged = await client.getTokenForTeamsUser(teams(env.ACS_TEAMS_USER_TOKEN));

console.log(
  JSON.stringify({
    created: { id: created.communicationUserId, token: issued.token },
    createdWithToken: { id: both.user.communicationUserId, token: both.token },
    expiresOn: both.expiresOn,
    revoked: revoked.token,
    deleted: deleted.token,
    exchanged: exchanged.token,
    errors: {
      deletedUser: await errorOf(client.getToken(deleted.user, ["voip"])),
      stranger: await errorOf(client.deleteUser({ communicationUserId: stranger() })),
      noScopes: await errorOf(client.getToken(created, [])),
      shortLife: await errorOf(client.getToken(created, ["voip"], { tokenExpiresInMinutes: 59 })),
      expiredTeamsToken: await errorOf(
        client.getTokenForTeamsUser(teams(env.ACS_TEAMS_EXPIRED_TOKEN)),
      ),
    },
  }),
);

function teams(teamsUserAadToken) {
  return {
    teamsUserAadToken,
    clientId: env.ACS_TEAMS_APP_ID,
    userObjectId: env.ACS_TEAMS_USER_ID,
  };
}

function stranger() {
  return `8:acs:${crypto.randomUUID()}_${crypto.randomUUID()}`;
}

async function errorOf(call) {
  try {
    await call;
    return null;
  } catch (error) {
    return [error.statusCode, error.code];
  }
}
