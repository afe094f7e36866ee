// All Azure resources of the app, in one resource group, without keys. It puts nothing into another group, not
// even a role assignment: `azd down` would delete that group.
targetScope = 'subscription'

@description('Name of the environment: letters, digits and hyphens. Part of every resource name.')
@minLength(1)
@maxLength(30)
param environmentName string

@description('Region of all resources except ACS, which is global. It must offer Flex Consumption, and availability zones if storageSku contains a Z.')
param location string

@description('Id of an existing ACS resource in this subscription. Empty creates a new one. Set it before the first deployment and never change it.')
param communicationResourceId string = ''

@description('Where a new ACS resource stores data at rest, for example Europe or United States. It cannot be changed later.')
param dataLocation string

@description('Redundancy of the registry: one datacentre, three zones, or also a second region.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string = 'Standard_ZRS'

@description('Version of Python.')
@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.13'

@description('Memory of an instance in MB. 512 has a quarter of a core, 2048 one core, 4096 two.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Maximum number of instances.')
@minValue(1)
@maxValue(1000)
param maximumInstances int = 40

@description('Number of instances kept warm for HTTP, billed all the time. 0 costs nothing but has cold starts.')
param alwaysReadyInstances int = 0

@description('When the sweep runs: six fields, UTC.')
param cleanupSchedule string = '0 */5 * * * *'

@description('Number of days a deleted identity can be restored.')
@minValue(0)
@maxValue(90)
param deletedIdentityRetentionDays int = 7

@description('Forbids purging ahead of time.')
param purgeProtection bool = false

@description('Refuses identities that the registry does not know.')
param registeredIdentitiesOnly bool = true

@description('Origins of pages that may call the app from a browser, for example https://app.contoso.com.')
param allowedOrigins array = []

@description('How services authenticate: with function keys, or with Entra tokens that have app roles. entra requires signInClientId.')
@allowed(['keys', 'entra'])
param serviceAuthentication string = 'keys'

@description('Client id of the Entra application whose tokens the app accepts: those of users, and with entra those of services. Empty turns sign-in off.')
param signInClientId string = ''

@description('Any other setting of docs/settings.md, by name. Never a secret: the app needs none.')
param moreSettings object = {}

@description('Turns on OpenTelemetry in the host and in the worker. It makes cold starts slower.')
param openTelemetry bool = false

@description('Address that receives alerts. Empty: alerts are visible in the portal only.')
param alertEmail string = ''

@description('Number of identities deleted, purged or unregistered in an hour above which an alert fires.')
param unusualDeletions int = 100

@description('Number of identities created in an hour above which an alert fires.')
param unusualCreations int = 1000

@description('Number of tokens issued to services in an hour above which an alert fires.')
param unusualTokens int = 10000

@description('Time without a finished sweep after which an alert fires: three times the interval of cleanupSchedule, which is two missed runs.')
@allowed(['PT15M', 'PT30M', 'PT1H', 'PT6H', 'P1D'])
param sweepMissingAfter string = 'PT15M'

@description('Number of days that the audit trail is kept and protected. 0 keeps none.')
@minValue(0)
@maxValue(36500)
param auditRetentionDays int = 0

var tags = { 'azd-env-name': environmentName }
// Makes globally unique names; stable for a subscription, environment and region.
var suffix = uniqueString(subscription().id, environmentName, location)

var groupName = 'rg-${environmentName}'
var isNew = empty(communicationResourceId)
var idParts = split(communicationResourceId, '/')
var isId = length(idParts) == 9 && startsWith(toLower(communicationResourceId), toLower('${subscription().id}/resourceGroups/')) && contains(toLower(communicationResourceId), '/providers/microsoft.communication/communicationservices/')
var existingGroup = isNew ? groupName : isId ? idParts[4] : fail('communicationResourceId must have the form ${subscription().id}/resourceGroups/GROUP/providers/Microsoft.Communication/communicationServices/NAME')

var acceptedClientId = serviceAuthentication == 'entra' && empty(signInClientId) ? fail('serviceAuthentication entra requires signInClientId: docs/deploy.md, "Services with Entra"') : signInClientId

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: groupName
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

// Only read; hooks/communication.sh assigns the role on it. If there is none, nothing reads it, but its name and
// its scope must be valid.
resource existingCommunication 'Microsoft.Communication/communicationServices@2025-09-01' existing = {
  name: isNew ? 'none' : last(idParts)
  scope: resourceGroup(existingGroup)
}

module communication 'communication.bicep' = if (isNew) {
  name: 'communication'
  scope: group
  params: {
    name: 'acs-${environmentName}-${suffix}'
    dataLocation: dataLocation
    tags: tags
    principalId: identity.outputs.principalId
  }
}

var communicationEndpoint = isNew ? communication!.outputs.endpoint : 'https://${existingCommunication.properties.hostName}'

var existingGuid = existingCommunication.properties.immutableResourceId
var communicationGuid = isNew ? communication!.outputs.guid : existingGuid

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
    communicationEndpoint: communicationEndpoint
    communicationGuid: communicationGuid
    storageName: storage.outputs.name
    packageContainer: storage.outputs.packageContainer
    applicationInsights: monitoring.outputs.applicationInsights
    pythonVersion: pythonVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstances: maximumInstances
    alwaysReadyInstances: alwaysReadyInstances
    allowedOrigins: allowedOrigins
    signInClientId: acceptedClientId
    openTelemetry: openTelemetry
    settings: union(
      {
        CLEANUP_SCHEDULE: cleanupSchedule
        DELETED_IDENTITY_RETENTION_DAYS: string(deletedIdentityRetentionDays)
        PURGE_PROTECTION: string(purgeProtection)
        REGISTERED_IDENTITIES_ONLY: string(registeredIdentitiesOnly)
        SERVICE_AUTHENTICATION: serviceAuthentication
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
    applicationInsightsId: monitoring.outputs.applicationInsightsId
    url: app.outputs.url
    registryAccountName: storage.outputs.name
    communicationId: isNew ? communication!.outputs.id : communicationResourceId
    email: alertEmail
    unusualDeletions: unusualDeletions
    unusualCreations: unusualCreations
    unusualTokens: unusualTokens
    sweepMissingAfter: sweepMissingAfter
  }
}

module workbook 'workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: { location: location, tags: tags, workspaceId: monitoring.outputs.workspaceId }
}

module audit 'audit.bicep' = if (auditRetentionDays > 0) {
  name: 'audit'
  scope: group
  params: {
    name: 'audit${suffix}'
    location: location
    sku: storageSku
    tags: tags
    retentionDays: auditRetentionDays
    workspaceName: monitoring.outputs.workspaceName
    registryAccountName: storage.outputs.name
    communicationName: isNew ? communication!.outputs.name : ''
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output FUNCTION_APP_NAME string = app.outputs.name
output FUNCTION_APP_URL string = app.outputs.url
output COMMUNICATION_SERVICES_ENDPOINT string = communicationEndpoint
// For hooks/communication.sh.
output APP_PRINCIPAL_ID string = identity.outputs.principalId
output COMMUNICATION_ROLE_ASSIGNMENT_ID string = isNew ? '' : '${communicationResourceId}/providers/Microsoft.Authorization/roleAssignments/${guid(toLower(communicationResourceId), identity.outputs.principalId)}'
// To add the logs of an existing ACS resource.
output AUDIT_STORAGE_ID string = auditRetentionDays > 0 ? audit!.outputs.storageId : ''
