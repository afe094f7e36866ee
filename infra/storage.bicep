// A storage account for the registry's table, or for the host's blobs and the app's package, or for both. Shared
// keys are disabled.
param name string
param location string
param sku string
param tags object
param principalId string
param hasRegistry bool
param hasHost bool
// Whether only the virtual network reaches it.
param isPrivate bool

var storageBlobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var storageTableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
var roleIds = concat(hasHost ? [storageBlobDataOwner] : [], hasRegistry ? [storageTableDataContributor] : [])

var packageName = 'package'

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
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
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: isPrivate ? { defaultAction: 'Deny', bypass: 'None' } : { defaultAction: 'Allow', bypass: 'AzureServices' }
  }
}

// The host's keys and the app's package can be restored after a change or a deletion.
resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: account
  name: 'default'
  properties: {
    isVersioningEnabled: true
    deleteRetentionPolicy: { enabled: true, days: 14 }
    containerDeleteRetentionPolicy: { enabled: true, days: 14 }
  }
}

// Every run of the timer writes a blob.
resource oldVersions 'Microsoft.Storage/storageAccounts/managementPolicies@2024-01-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'delete-old-versions'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: { blobTypes: ['blockBlob'] }
            actions: { version: { delete: { daysAfterCreationGreaterThan: 14 } } }
          }
        }
      ]
    }
  }
  // A policy about versions needs versioning.
  dependsOn: [blobs]
}

resource package 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = if (hasHost) {
  parent: blobs
  name: packageName
}

// ACS cannot list identities: the registry is the only list of them.
resource keepRegistry 'Microsoft.Authorization/locks@2020-05-01' = if (hasRegistry) {
  name: 'keep-the-registry'
  scope: account
  properties: {
    level: 'CanNotDelete'
    notes: 'Contains the registry, the only list of the ACS identities.'
  }
}

resource keepKeys 'Microsoft.Authorization/locks@2020-05-01' = if (!hasRegistry) {
  name: 'keep-the-keys'
  scope: account
  properties: {
    level: 'CanNotDelete'
    notes: 'Contains the keys with which services call the app.'
  }
}

resource roles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in roleIds: {
    name: guid(account.id, principalId, role)
    scope: account
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
      principalId: principalId
      principalType: 'ServicePrincipal'
    }
  }
]

output id string = account.id
output name string = account.name
output tables string = 'https://${account.name}.table.${environment().suffixes.storage}'
output packageContainer string = '${account.properties.primaryEndpoints.blob}${packageName}'
