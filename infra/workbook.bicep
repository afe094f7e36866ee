// A workbook for operators, in the portal under the workspace. workbook.json lists its parts, queries/workbook has their
// queries. docs/operate.md says how to use it.
param location string
param tags object
param workspaceId string

var queries = {
  calls: loadTextContent('queries/workbook/calls.kql')
  tokens: loadTextContent('queries/workbook/tokens.kql')
  backlog: loadTextContent('queries/workbook/backlog.kql')
  overdue: loadTextContent('queries/workbook/overdue.kql')
  stuck: loadTextContent('queries/workbook/stuck.kql')
  throttling: loadTextContent('queries/workbook/throttling.kql')
  latency: loadTextContent('queries/workbook/latency.kql')
  identity: loadTextContent('queries/workbook/identity.kql')
}

var day = 24 * 60 * 60 * 1000

var choices = {
  type: 9
  name: 'choices'
  content: {
    version: 'KqlParameterItem/1.0'
    style: 'pills'
    queryType: 0
    resourceType: 'microsoft.operationalinsights/workspaces'
    parameters: [
      {
        id: guid('TimeRange')
        version: 'KqlParameterItem/1.0'
        name: 'TimeRange'
        label: 'Time range'
        type: 4
        isRequired: true
        value: { durationMs: day }
        typeSettings: {
          selectableValues: [{ durationMs: day / 24 }, { durationMs: day }, { durationMs: 7 * day }, { durationMs: 30 * day }]
          allowCustom: true
        }
      }
      {
        id: guid('IdentityId')
        version: 'KqlParameterItem/1.0'
        name: 'IdentityId'
        label: 'Identity id'
        type: 1
        value: ''
      }
    ]
  }
}

var parts = [
  for part in loadJsonContent('workbook.json'): {
    type: 3
    name: part.query
    content: {
      version: 'KqlItem/1.0'
      title: part.title
      query: queries[part.query]
      visualization: part.view
      size: 0
      queryType: 0
      resourceType: 'microsoft.operationalinsights/workspaces'
      timeContextFromParameter: 'TimeRange'
    }
  }
]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Identity service'
    category: 'workbook'
    sourceId: workspaceId
    serializedData: string({
      version: 'Notebook/1.0'
      items: concat([choices], parts)
      fallbackResourceIds: [workspaceId]
    })
  }
}
