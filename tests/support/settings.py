"""The settings that the app requires, as an environment."""

MINIMAL = {
    "COMMUNICATION_SERVICES_ENDPOINT": "https://contoso.communication.azure.com",
    "AzureWebJobsStorage__accountName": "contoso",
    "CLEANUP_SCHEDULE": "0 */5 * * * *",
}
