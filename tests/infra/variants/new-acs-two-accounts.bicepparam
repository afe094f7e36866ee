// A new ACS resource, a storage account each for the host and the registry, as in every new deployment by azd, and all
// that is optional except the network.
using '../../../infra/main.bicep'

param environmentName = 'variant'
param location = 'westeurope'
param dataLocation = 'Europe'
param storageAccounts = 'two'
param auditRetentionDays = 30
param alwaysReadyInstances = 2
param allowedOrigins = ['https://app.contoso.com']
param serviceAuthentication = 'entra'
param signInClientId = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee'
param moreSettings = { 'AzureWebJobs.purge_deleted_identities.Disabled': 'true' }
param openTelemetry = true
param alertEmail = 'operators@contoso.com'
