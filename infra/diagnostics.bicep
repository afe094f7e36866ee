// What changes the data in storage, and who asks ACS for tokens, in the log next to the app's own lines.
param workspaceId string
param registryAccountName string
param hostAccountName string
// Empty for an existing ACS resource, which the deployment does not change.
param communicationName string

// Never StorageRead: the URL of a read has the row's key, and the key of a user row is a hash of the user id. The app
// writes and deletes rows in batches only, and the URL of a batch has no key.
var storageLogs = [
  { category: 'StorageWrite', enabled: true }
  { category: 'StorageDelete', enabled: true }
]

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

resource hostBlobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' existing = {
  parent: hostAccount
  name: 'default'
}

resource registryChanges 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'log'
  scope: registryTables
  properties: { workspaceId: workspaceId, logs: storageLogs }
}

resource hostChanges 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'log'
  scope: hostBlobs
  properties: { workspaceId: workspaceId, logs: storageLogs }
}

// Not read if there is none, but its name must be valid.
resource acs 'Microsoft.Communication/communicationServices@2025-09-01' existing = {
  name: empty(communicationName) ? 'none' : communicationName
}

resource communicationCalls 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(communicationName)) {
  name: 'log'
  scope: acs
  properties: { workspaceId: workspaceId, logs: [{ category: 'AuthOperational', enabled: true }] }
}
