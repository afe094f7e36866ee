// Everything that the app needs in Azure, in one resource group, without a key anywhere.
targetScope = 'subscription'

@description('Name of the environment, of letters, digits and hyphens; part of every resource\'s name.')
@minLength(1)
@maxLength(30)
param environmentName string

@description('Region of everything but the ACS resource, which is global. It must offer Flex Consumption, and zones where storageSku has a Z in it.')
param location string

@description('Where ACS keeps its data at rest, such as Europe or United States. It cannot be changed later.')
param dataLocation string

@description('How often the registry is copied: within a datacentre, over three zones, or to a second region as well.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string = 'Standard_ZRS'

@description('Version of Python.')
@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.13'

@description('Memory of an instance in MB; 512 has a quarter of a core, 2048 a whole one, 4096 two.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('How many instances there may be at most.')
@minValue(1)
@maxValue(1000)
param maximumInstances int = 40

@description('How many instances are kept warm for HTTP; each is paid for all the time. 0 saves that and costs cold starts.')
param alwaysReadyInstances int = 0

@description('When the sweep runs: six fields, UTC.')
param cleanupSchedule string = '0 */5 * * * *'

@description('For how many days a deleted identity can be restored.')
@minValue(0)
@maxValue(90)
param deletedIdentityRetentionDays int = 7

@description('Forbids to purge ahead of time.')
param purgeProtection bool = false

@description('Refuses identities that the registry does not know.')
param registeredIdentitiesOnly bool = true

@description('Origins of the pages that may call the app from a browser, such as https://app.contoso.com.')
param allowedOrigins array = []

@description('Client id of the Entra application that users sign in to; empty: nobody signs in.')
param signInClientId string = ''

@description('Any other setting of docs/settings.md, by its name. Never a secret: the app needs none.')
param moreSettings object = {}

@description('Switches OpenTelemetry on, in the host and in the worker. It costs a fresh worker more time.')
param openTelemetry bool = false

@description('Who is told when an alert fires; empty: nobody, alerts are seen in the portal.')
param alertEmail string = ''

@description('More deletions and purges than these in an hour, and an operator is told.')
param unusualDeletions int = 100

@description('For how long there may be no sweep before an operator is told: several times the interval of cleanupSchedule.')
@allowed(['PT15M', 'PT30M', 'PT1H', 'PT6H', 'P1D'])
param sweepMissingAfter string = 'PT30M'

var tags = { 'azd-env-name': environmentName }
// The same for the same subscription, environment and region; some names are the whole world's.
var suffix = uniqueString(subscription().id, environmentName, location)

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${environmentName}-${suffix}'
    location: location
    tags: tags
  }
}

module communication 'communication.bicep' = {
  name: 'communication'
  scope: group
  params: {
    name: 'acs-${environmentName}-${suffix}'
    dataLocation: dataLocation
    tags: tags
    principalId: identity.outputs.principalId
  }
}

module storage 'storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: 'st${suffix}'
    location: location
    sku: storageSku
    tags: tags
    principalId: identity.outputs.principalId
  }
}

module monitoring 'monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    name: '${environmentName}-${suffix}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
  }
}

module app 'app.bicep' = {
  name: 'app'
  scope: group
  params: {
    name: '${environmentName}-${suffix}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    communicationEndpoint: communication.outputs.endpoint
    storageName: storage.outputs.name
    packageContainer: storage.outputs.packageContainer
    applicationInsights: monitoring.outputs.applicationInsights
    pythonVersion: pythonVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstances: maximumInstances
    alwaysReadyInstances: alwaysReadyInstances
    allowedOrigins: allowedOrigins
    signInClientId: signInClientId
    openTelemetry: openTelemetry
    settings: union(
      {
        CLEANUP_SCHEDULE: cleanupSchedule
        DELETED_IDENTITY_RETENTION_DAYS: string(deletedIdentityRetentionDays)
        PURGE_PROTECTION: string(purgeProtection)
        REGISTERED_IDENTITIES_ONLY: string(registeredIdentitiesOnly)
      },
      moreSettings
    )
  }
}

module alerts 'alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    email: alertEmail
    unusualDeletions: unusualDeletions
    sweepMissingAfter: sweepMissingAfter
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output FUNCTION_APP_NAME string = app.outputs.name
output FUNCTION_APP_URL string = app.outputs.url
output COMMUNICATION_SERVICES_ENDPOINT string = communication.outputs.endpoint
