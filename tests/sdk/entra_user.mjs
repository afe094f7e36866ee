// Exchanges the Entra token in ENTRA_TOKEN with Microsoft's client SDK, and prints the access token.
// The argument is the scope that the client SDK requests from Entra. It selects the exchange.
import { AzureCommunicationTokenCredential } from "@azure/communication-common";

const credential = new AzureCommunicationTokenCredential({
  resourceEndpoint: process.env.ACS_ENDPOINT,
  scopes: [process.argv[2]],
  tokenCredential: {
    getToken: async () => ({
      token: process.env.ENTRA_TOKEN,
      expiresOnTimestamp: Date.now() + 3_600_000,
    }),
  },
});
const { token, expiresOnTimestamp } = await credential.getToken();
console.log(JSON.stringify({ token, minutes: (expiresOnTimestamp - Date.now()) / 60_000 }));
credential.dispose();
