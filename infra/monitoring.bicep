// The log. Only Entra identities can write to it.
param name string
param location string
param tags object
param principalId string
// 0: none.
param dailyCapGB int

var monitoringMetricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: 'log-${name}'
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    // The log contains identity ids but no user ids.
    retentionInDays: 30
    // No shared keys.
    features: { disableLocalAuth: true }
    // Bounds what a flood of calls costs.
    workspaceCapping: { dailyQuotaGb: dailyCapGB > 0 ? dailyCapGB : -1 }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${name}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
  }
}

resource appMayWrite 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, principalId, monitoringMetricsPublisher)
  scope: insights
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', monitoringMetricsPublisher)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

output workspaceId string = workspace.id
output applicationInsightsId string = insights.id
output workspaceName string = workspace.name
// With local authentication off, the connection string is only an address, not a credential.
output applicationInsights string = insights.properties.ConnectionString
