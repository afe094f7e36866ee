// Runs all operations with Microsoft's JavaScript SDK and prints the results as JSON.
// The argument selects the credential. All other input comes from the environment.

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

const createdWithToken = await client.createUserAndToken(["chat", "voip"], hour);

const revoked = await client.createUserAndToken(["voip"]);
await client.revokeTokens(revoked.user);

const deleted = await client.createUserAndToken(["voip"]);
await client.deleteUser(deleted.user);

const exchanged = await client.getTokenForTeamsUser(teamsUser(env.ACS_TEAMS_USER_TOKEN));

const unknownUser = {
  communicationUserId: `8:acs:${crypto.randomUUID()}_${crypto.randomUUID()}`,
};

console.log(
  JSON.stringify({
    users: {
      created: created.communicationUserId,
      createdWithToken: createdWithToken.user.communicationUserId,
    },
    tokens: {
      created: issued.token,
      createdWithToken: createdWithToken.token,
      revoked: revoked.token,
      deleted: deleted.token,
      exchanged: exchanged.token,
    },
    expiresOn: createdWithToken.expiresOn,
    errors: {
      deletedUser: await errorOf(client.getToken(deleted.user, ["voip"])),
      unknownUser: await errorOf(client.deleteUser(unknownUser)),
      noScopes: await errorOf(client.getToken(created, [])),
      lifetimeTooShort: await errorOf(
        client.getToken(created, ["voip"], { tokenExpiresInMinutes: 59 }),
      ),
      expiredTeamsToken: await errorOf(
        client.getTokenForTeamsUser(teamsUser(env.ACS_TEAMS_EXPIRED_TOKEN)),
      ),
    },
  }),
);

function teamsUser(teamsUserAadToken) {
  return {
    teamsUserAadToken,
    clientId: env.ACS_TEAMS_APP_ID,
    userObjectId: env.ACS_TEAMS_USER_ID,
  };
}

async function errorOf(call) {
  try {
    await call;
    return null;
  } catch (error) {
    return [error.statusCode, error.code];
  }
}
