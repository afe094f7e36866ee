// All Azure resources of the app, in one resource group, without keys. It puts nothing into another group, not
// even a role assignment: `azd down` would delete that group.
targetScope = 'subscription'

@description('Name of the environment: letters and digits, and hyphens between them. azd allows more, but a name with _ or . is refused. Part of every resource name.')
@minLength(1)
@maxLength(30)
param environmentName string

@description('Region of all resources except ACS, which is global. It must offer Flex Consumption, and availability zones if storageSku contains a Z. Never change it, nor how it is written: westeurope and West Europe give the resources different names.')
@minLength(1)
param location string

@description('Id of an existing ACS resource in this subscription. Empty creates a new one. Set it before the first deployment and never change it.')
param communicationResourceId string = ''

@description('Where a new ACS resource stores data at rest, for example Europe or United States. It cannot be changed later.')
@minLength(1)
param dataLocation string

@description('Whether the host and the registry share a storage account. one: shared. two: separate. prepared: shared, and the second account is created for the move. An app deployed by an earlier release has one; docs/operate.md says how to move. Empty (the default of azd): unchanged; two for a new app.')
@allowed(['', 'one', 'prepared', 'two'])
param storageAccounts string = 'one'

@description('Name of the app, if it is deployed. azd knows it from the last deployment. If the parameters would give the app another name, nothing is deployed.')
@maxLength(60)
param deployedApp string = ''

@description('The storageAccounts of the last deployment. azd knows it, except of one by an earlier release.')
@allowed(['', 'one', 'prepared', 'two'])
param deployedStorageAccounts string = ''

@description('Puts the app into a virtual network and closes storage to all others. Then no one else reads the registry from outside, operators included. The provider Microsoft.App must be registered in the subscription.')
param vnetEnabled bool = false

@description('Redundancy of the registry: one datacentre, three zones, or also a second region.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string = 'Standard_ZRS'

@description('Version of Python.')
@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.13'

@description('Memory of an instance in MB. 512 has a quarter of a core, 2048 one core, 4096 two.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Maximum number of instances. Not every region accepts less than 40.')
@minValue(1)
@maxValue(1000)
param maximumInstances int = 40

@description('Number of instances kept warm for HTTP, billed all the time, at most maximumInstances. 0 costs nothing but has cold starts. Not 1: while the platform replaces a single instance, calls fail or wait for a cold start.')
@minValue(0)
@maxValue(1000)
param alwaysReadyInstances int = 0

@description('When the sweep runs: six fields, UTC.')
@minLength(11)
@maxLength(100)
param cleanupSchedule string = '0 */5 * * * *'

@description('Number of days a deleted identity can be restored.')
@minValue(0)
@maxValue(90)
param deletedIdentityRetentionDays int = 7

@description('Forbids purging ahead of time.')
param purgeProtection bool = false

@description('Refuses identities that the registry does not know.')
param registeredIdentitiesOnly bool = true

@description('Origins of pages that may call the app from a browser, for example https://app.contoso.com. Never *.')
param allowedOrigins string[] = []

@description('How services authenticate: with function keys, or with Entra tokens that have app roles. entra requires signInClientId.')
@allowed(['keys', 'entra'])
param serviceAuthentication string = 'keys'

@description('Client id of the Entra application whose tokens the app accepts: those of users, and with entra those of services. Empty turns sign-in off.')
param signInClientId string = ''

@description('Settings of docs/settings.md that have no parameter, such as TEAMS_APP_ID; AzureWebJobs.NAME.Disabled, which stops the function NAME; and AzureFunctionsJobHost__logging__ settings. All values are texts. Never a secret: the app needs none.')
param moreSettings { *: string } = {}

@description('Turns on OpenTelemetry in the host and in the worker. It needs more packages, which docs/deploy.md explains, and makes cold starts slower.')
param openTelemetry bool = false

@description('Address that receives alerts. Empty: alerts are visible in the portal only.')
@maxLength(254)
param alertEmail string = ''

@description('Number of identities deleted, purged or unregistered in an hour above which an alert fires.')
@minValue(1)
@maxValue(1000000)
param unusualDeletions int = 100

@description('Number of identities created in an hour above which an alert fires.')
@minValue(1)
@maxValue(1000000)
param unusualCreations int = 1000

@description('Number of tokens issued to services in an hour above which an alert fires.')
@minValue(1)
@maxValue(100000000)
param unusualTokens int = 10000

@description('Gigabytes of log lines a day after which the log takes no more until the next day. An alert fires at 80 %. 0: no limit.')
@minValue(0)
@maxValue(10000)
param dailyCapGB int = 10

@description('Time without a finished sweep after which an alert fires: three times the interval of cleanupSchedule, which is two missed runs.')
@allowed(['PT15M', 'PT30M', 'PT1H', 'PT6H', 'P1D'])
param sweepMissingAfter string = 'PT15M'

@description('Number of days that the audit trail is kept and protected. 0 keeps none.')
@minValue(0)
@maxValue(36500)
param auditRetentionDays int = 0

var letters = 'abcdefghijklmnopqrstuvwxyz'
var digits = '0123456789'

// A name of an environment is refused here, and not by ACS or another service when half is deployed.
var foreignInName = filter(map(range(0, length(environmentName)), i => substring(environmentName, i, 1)), c => !contains('${letters}${digits}-', toLower(c)))
var isName = empty(foreignInName) && !startsWith(environmentName, '-') && !endsWith(environmentName, '-')
var name = isName ? environmentName : fail('environmentName must have letters and digits only, and hyphens between them. Choose another name with azd env new.')

var isCount = alwaysReadyInstances <= maximumInstances
var warmInstances = isCount ? alwaysReadyInstances : fail('alwaysReadyInstances must not be more than maximumInstances.')

var scheduleFields = filter(split(cleanupSchedule, ' '), field => !empty(field))
var foreignInSchedule = filter(map(range(0, length(cleanupSchedule)), i => substring(cleanupSchedule, i, 1)), c => !contains('${letters}${digits} */,-', toLower(c)))
var isSchedule = length(scheduleFields) == 6 && empty(foreignInSchedule)
var schedule = isSchedule ? cleanupSchedule : fail('cleanupSchedule must have six fields, such as 0 */5 * * * * for every five minutes.')

// App Service lets every page call the app if the list has a *, even next to other origins.
var oddOrigins = filter(allowedOrigins, origin => !empty(filter(map(range(0, length(origin)), i => substring(origin, i, 1)), c => !contains('${letters}${digits}-.:/', toLower(c)))))
var otherOrigins = filter(allowedOrigins, origin => !(startsWith(origin, 'https://') || startsWith(origin, 'http://localhost:')) || length(split(origin, '/')) != 3 || endsWith(origin, '/') || endsWith(origin, ':'))
var foreignOrigins = concat(oddOrigins, otherOrigins)
// Browsers send them in lower case.
var origins = empty(foreignOrigins) ? map(allowedOrigins, origin => toLower(origin)) : fail('allowedOrigins must be origins such as https://app.contoso.com, without *, a path or a / at the end: ${join(foreignOrigins, ' ')}')

var idPartLengths = map(split(signInClientId, '-'), part => string(length(part)))
var foreignInId = filter(map(range(0, length(signInClientId)), i => substring(signInClientId, i, 1)), c => !contains('abcdef${digits}-', toLower(c)))
var isClientId = empty(signInClientId) || (join(idPartLengths, ' ') == '8 4 4 4 12' && empty(foreignInId))
var registeredClientId = isClientId ? toLower(signInClientId) : fail('signInClientId must be a GUID: the Application (client) ID of the registration.')
// Azure ignores the case of the values that @allowed lists. Here and below, so do we.
var authentication = toLower(serviceAuthentication)
var acceptedClientId = authentication == 'entra' && empty(signInClientId) ? fail('serviceAuthentication entra requires signInClientId: docs/deploy.md, "Services with Entra"') : registeredClientId

var emailParts = filter(split(alertEmail, '@'), part => !empty(part))
var foreignInEmail = filter(map(range(0, length(alertEmail)), i => substring(alertEmail, i, 1)), c => !contains('${letters}${digits}@.-_+\'', toLower(c)))
var isEmail = empty(alertEmail) || (length(split(alertEmail, '@')) == 2 && length(emailParts) == 2 && empty(foreignInEmail))
var email = isEmail ? alertEmail : fail('alertEmail must be one address, such as operators@contoso.com.')

// Only these, those that stop a function, and those of the host's log. Any other name, in any case, is a setting of ours or may change
// how the platform checks callers, where the host keeps its keys, or which credential the app uses.
var freeSettings = [
  'CLEANUP_DELETES_PER_30S'
  'CLEANUP_MAX_ATTEMPTS'
  'CLEANUP_TIME_BUDGET_SECONDS'
  'HTTPS_PROXY'
  'NO_PROXY'
  'PROBLEM_BASE_URI'
  'PURGE_HOLD'
  'SERVICE_TOKEN_DEFAULT_MINUTES'
  'SERVICE_TOKEN_MAX_MINUTES'
  'SERVICE_TOKEN_SCOPES'
  'SIGN_IN_SCOPE'
  'TEAMS_APP_ID'
  'USER_CALLS_PER_MINUTE'
  'USER_TOKEN_DEFAULT_MINUTES'
  'USER_TOKEN_MAX_MINUTES'
  'USER_TOKEN_SCOPES'
  'VERIFICATIONS_PER_30S'
]
// A misspelt name would stop nothing.
var functions = split('assign_teams_access create_identity create_identity_with_token delete_identity delete_me exchange_my_teams_token exchange_teams_token get_deleted_identity get_identity get_me get_teams_access health import_identities import_teams_access issue_my_token issue_token list_deleted_identities list_identities list_teams_access openapi purge_deleted_identities purge_identity ready register_identity remove_teams_access restore_identity restore_me resume_identity revoke_my_tokens revoke_tokens suspend_identity unregister_identity warmup', ' ')
var stops = map(functions, function => 'AzureWebJobs.${function}.Disabled')
var reservedSettings = filter(objectKeys(moreSettings), setting => !contains(concat(freeSettings, stops), setting) && !startsWith(setting, 'AzureFunctionsJobHost__logging__'))
var acceptedSettings = empty(reservedSettings) ? moreSettings : fail('moreSettings must not have ${join(reservedSettings, ', ')}. docs/deploy.md, "Parameters", says what it may have.')

// What is deployed stays where it is. An earlier release has no output DEPLOYED_STORAGE_ACCOUNTS.
var accountsBefore = !empty(deployedStorageAccounts) ? deployedStorageAccounts : empty(deployedApp) ? 'two' : 'one'
var accounts = toLower(!empty(storageAccounts) ? storageAccounts : accountsBefore)
var isHostApart = accounts == 'two'

var tags = { 'azd-env-name': environmentName }
// Makes globally unique names; stable for a subscription, environment and region.
var nameSuffix = uniqueString(subscription().id, environmentName, location)
// With other names the registry would be empty, and the app would start with new keys.
var isSameApp = empty(deployedApp) || toLower(deployedApp) == toLower('func-${name}-${nameSuffix}')
var suffix = isSameApp ? nameSuffix : fail('environmentName, location or the subscription is not that of deployedApp ${deployedApp}: the app and its data would be created again, empty. Set them back, or create another app with azd env new.')

var groupName = 'rg-${name}'
var isNew = empty(communicationResourceId)
var idParts = split(communicationResourceId, '/')
var isId = length(idParts) == 9 && length(filter(idParts, part => !empty(part))) == 8 && startsWith(toLower(communicationResourceId), toLower('${subscription().id}/resourceGroups/')) && toLower(join(take(skip(idParts, 5), 3), '/')) == 'providers/microsoft.communication/communicationservices' && !contains(communicationResourceId, ' ')
var existingGroup = isNew ? groupName : isId ? idParts[4] : fail('communicationResourceId must have the form ${subscription().id}/resourceGroups/GROUP/providers/Microsoft.Communication/communicationServices/NAME')

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: groupName
  location: location
  tags: tags
}

module identity 'identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${name}-${suffix}'
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
    name: 'acs-${name}-${suffix}'
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
    hasRegistry: true
    hasHost: !isHostApart
    isPrivate: vnetEnabled
  }
}

// Who can write to it can replace the app's code and read its keys. The registry is elsewhere.
module hostStorage 'storage.bicep' = if (accounts != 'one') {
  name: 'host-storage'
  scope: group
  params: {
    name: 'host${suffix}'
    location: location
    sku: storageSku
    tags: tags
    principalId: identity.outputs.principalId
    hasRegistry: false
    hasHost: true
    isPrivate: vnetEnabled
  }
}

var hostEndpoints = accounts == 'one' ? [] : [
  { account: hostStorage!.outputs.id, service: 'blob' }
  { account: hostStorage!.outputs.id, service: 'queue' }
]
var firstHostEndpoints = isHostApart ? [] : [
  { account: storage.outputs.id, service: 'blob' }
  { account: storage.outputs.id, service: 'queue' }
]

module network 'network.bicep' = if (vnetEnabled) {
  name: 'network'
  scope: group
  params: {
    name: '${name}-${suffix}'
    location: location
    tags: tags
    endpoints: concat([{ account: storage.outputs.id, service: 'table' }], firstHostEndpoints, hostEndpoints)
  }
}

var hostAccountName = isHostApart ? hostStorage!.outputs.name : storage.outputs.name

module monitoring 'monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    name: '${name}-${suffix}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    dailyCapGB: dailyCapGB
  }
}

module app 'app.bicep' = {
  name: 'app'
  scope: group
  params: {
    name: '${name}-${suffix}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    communicationEndpoint: communicationEndpoint
    communicationGuid: communicationGuid
    storageName: hostAccountName
    packageContainer: isHostApart ? hostStorage!.outputs.packageContainer : storage.outputs.packageContainer
    registryTables: storage.outputs.tables
    subnetId: network.?outputs.appSubnetId
    applicationInsights: monitoring.outputs.applicationInsights
    pythonVersion: pythonVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstances: maximumInstances
    alwaysReadyInstances: warmInstances
    allowedOrigins: origins
    signInClientId: acceptedClientId
    openTelemetry: openTelemetry
    settings: {
      CLEANUP_SCHEDULE: schedule
      DELETED_IDENTITY_RETENTION_DAYS: string(deletedIdentityRetentionDays)
      PURGE_PROTECTION: string(purgeProtection)
      REGISTERED_IDENTITIES_ONLY: string(registeredIdentitiesOnly)
      SERVICE_AUTHENTICATION: authentication
    }
    moreSettings: acceptedSettings
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
    registryAccountId: storage.outputs.id
    hostAccountId: isHostApart ? hostStorage!.outputs.id : storage.outputs.id
    communicationId: isNew ? communication!.outputs.id : communicationResourceId
    email: email
    unusualDeletions: unusualDeletions
    unusualCreations: unusualCreations
    unusualTokens: unusualTokens
    sweepMissingAfter: toUpper(sweepMissingAfter)
  }
}

module logVolume 'log-volume.bicep' = if (dailyCapGB > 0) {
  name: 'log-volume'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    dailyCapGB: dailyCapGB
    actionGroups: alerts.outputs.actionGroups
  }
}

module diagnostics 'diagnostics.bicep' = {
  name: 'diagnostics'
  scope: group
  params: {
    workspaceId: monitoring.outputs.workspaceId
    registryAccountName: storage.outputs.name
    hostAccountName: hostAccountName
    communicationName: isNew ? communication!.outputs.name : ''
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
    isPrivate: vnetEnabled
    workspaceName: monitoring.outputs.workspaceName
    registryAccountName: storage.outputs.name
    hostAccountName: hostAccountName
    communicationName: isNew ? communication!.outputs.name : ''
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output DEPLOYED_STORAGE_ACCOUNTS string = accounts
output FUNCTION_APP_NAME string = app.outputs.name
output FUNCTION_APP_URL string = app.outputs.url
output COMMUNICATION_SERVICES_ENDPOINT string = communicationEndpoint
// For hooks/communication.sh.
output APP_PRINCIPAL_ID string = identity.outputs.principalId
output COMMUNICATION_ROLE_ASSIGNMENT_ID string = isNew ? '' : '${communicationResourceId}/providers/Microsoft.Authorization/roleAssignments/${guid(toLower(communicationResourceId), identity.outputs.principalId)}'
// To add the logs of an existing ACS resource.
output AUDIT_STORAGE_ID string = auditRetentionDays > 0 ? audit!.outputs.storageId : ''
