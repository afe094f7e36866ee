// The quickstart as an Express server: one call of ACS per token, and no checks.
import { CommunicationIdentityClient } from "@azure/communication-identity";
import { DefaultAzureCredential } from "@azure/identity";
import express from "express";

const client = new CommunicationIdentityClient(
  process.env.COMMUNICATION_SERVICES_ENDPOINT,
  new DefaultAzureCredential(),
);
const app = express();
app.use(express.json());

app.post("/api/identities/:id/tokens", async (request, response) => {
  const user = { communicationUserId: request.params.id };
  response.json(await client.getToken(user, request.body.scopes));
});

// What a request costs without the token.
app.post("/api/nothing", (request, response) => response.json({}));

const server = app.listen(Number(process.env.PORT), "127.0.0.1", () => {
  console.log(`listening http://localhost:${server.address().port}`);
});
