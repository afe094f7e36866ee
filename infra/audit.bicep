// A trail of what happened that nobody changes before its retention is over: the app's log lines, and the logs of
// the registry's storage account and of a new ACS resource. Its storage account is its own, and the app has no role
// on it: whoever takes over the app cannot change the trail.
param name string
param location string
param sku string
param tags object
param retentionDays int
// Whether only Azure Monitor reaches its account.
param isPrivate bool
param workspaceName string
param registryAccountName string
param hostAccountName string
// Empty for an existing ACS resource, which the deployment does not change.
param communicationName string

// Log Analytics exports whole tables. This one has the app's lines, and those of the host.
var tables = ['AppTraces']

// Never StorageRead. The URL of a read has the row's key, and the key of a user row is a hash of the user id. The
// app writes and deletes rows in batches only, and the URL of a batch has no key.
var storageLogs = [
  { category: 'StorageWrite', enabled: true }
  { category: 'StorageDelete', enabled: true }
]

// The requests for identities and tokens, whoever sends them.
var communicationLogs = [
  { category: 'AuthOperational', enabled: true }
]

// Azure Monitor chooses these names. It would create the containers itself, but without a policy.
var containerNames = [
  'am-apptraces'
  'insights-logs-storagewrite'
  'insights-logs-storagedelete'
  'insights-logs-authoperational'
]

resource trail 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: sku }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    // Azure Monitor is in no network: it writes as a trusted service of Azure.
    networkAcls: { defaultAction: isPrivate ? 'Deny' : 'Allow', bypass: 'AzureServices' }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: trail
  name: 'default'
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = [
  for container in containerNames: {
    parent: blobs
    name: container
  }
]

// Azure Monitor writes append blobs: lines may be added to a protected blob, but none changed or removed. The
// policies are not locked, because a locked one can never be shortened and keeps the account from being deleted.
resource policies 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2024-01-01' = [
  for index in range(0, length(containerNames)): {
    parent: containers[index]
    name: 'default'
    properties: {
      immutabilityPeriodSinceCreationInDays: retentionDays
      allowProtectedAppendWrites: true
    }
  }
]

// The policy only forbids deleting. This deletes what it no longer protects.
resource retention 'Microsoft.Storage/storageAccounts/managementPolicies@2024-01-01' = {
  parent: trail
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'delete-after-retention'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: { blobTypes: ['appendBlob'] }
            actions: { baseBlob: { delete: { daysAfterModificationGreaterThan: retentionDays } } }
          }
        }
      ]
    }
  }
}

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

resource exportRule 'Microsoft.OperationalInsights/workspaces/dataExports@2025-07-01' = {
  parent: workspace
  name: 'audit'
  properties: {
    destination: { resourceId: trail.id }
    tableNames: tables
    enable: true
  }
  // So that no line arrives in a container that is not protected yet.
  dependsOn: [policies]
}

resource registryAccount 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: registryAccountName
}

resource registryTables 'Microsoft.Storage/storageAccounts/tableServices@2024-01-01' existing = {
  parent: registryAccount
  name: 'default'
}

resource hostAccount 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: hostAccountName
}

// They hold the host's keys and the app's package.
resource hostBlobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' existing = {
  parent: hostAccount
  name: 'default'
}

resource tableAudit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'audit'
  scope: registryTables
  properties: {
    storageAccountId: trail.id
    logs: storageLogs
  }
  dependsOn: [policies]
}

resource blobAudit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'audit'
  scope: hostBlobs
  properties: {
    storageAccountId: trail.id
    logs: storageLogs
  }
  dependsOn: [policies]
}

// Not read if there is none, but its name must be valid.
resource acs 'Microsoft.Communication/communicationServices@2025-09-01' existing = {
  name: empty(communicationName) ? 'none' : communicationName
}

resource communicationAudit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(communicationName)) {
  name: 'audit'
  scope: acs
  properties: {
    storageAccountId: trail.id
    logs: communicationLogs
  }
  dependsOn: [policies]
}

output storageId string = trail.id
