// A new ACS resource, usable by Entra identities only, and the app's role on it.
param name string
param dataLocation string
param tags object
param principalId string

var communicationAndEmailServiceOwner = '09976791-48a7-449e-bb21-39d1a415f350'

resource acs 'Microsoft.Communication/communicationServices@2025-09-01' = {
  name: name
  location: 'global'
  tags: tags
  properties: {
    dataLocation: dataLocation
    // Disables access keys. Users' access tokens are not affected. Not yet tried in Azure.
    disableLocalAuth: true
  }
}

resource appIsOwner 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(acs.id, principalId, communicationAndEmailServiceOwner)
  scope: acs
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', communicationAndEmailServiceOwner)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

// Deleting the resource deletes its identities. The app's role allows it, but not removing a lock.
resource keep 'Microsoft.Authorization/locks@2020-05-01' = {
  name: 'keep-the-identities'
  scope: acs
  properties: {
    level: 'CanNotDelete'
    notes: 'Deleting the resource deletes all its identities and their chats.'
  }
}

output id string = acs.id
output name string = acs.name
// The GUID in the ids of its identities.
output guid string = acs.properties.immutableResourceId
output endpoint string = 'https://${acs.properties.hostName}'
