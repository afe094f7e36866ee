// Alerts for operators. docs/operate.md explains each: what it means and what to do.
//
// Nobody without a key or a sign-in can set off one of them or hide what it looks for. So none counts the host's own
// failed invocations or 5xx responses: a body that is cut off is one, and the app never sees it.
param location string
param tags object
param workspaceId string
param applicationInsightsId string
param url string
param registryAccountId string
// The same account, or one of its own.
param hostAccountId string
param communicationId string
param email string
param unusualDeletions int
param unusualCreations int
param unusualTokens int
param sweepMissingAfter string

var explanations = 'docs/operate.md#'

// An alert fires if `column` in the query's single row exceeds `threshold`. It is evaluated every `every`
// over the last `window`.
var alerts = [
  {
    name: 'deletions-overdue'
    query: loadTextContent('queries/deletions-overdue.kql')
    severity: 2
    column: 'OldestOverdueSeconds'
    threshold: 3600
    window: 'PT15M'
    every: 'PT15M'
  }
  {
    name: 'deletions-stuck'
    query: loadTextContent('queries/deletions-stuck.kql')
    severity: 2
    column: 'Stuck'
    threshold: 0
    // A stuck identity is tried, and logged, once a day.
    window: 'P2D'
    every: 'PT1H'
  }
  {
    name: 'sweep-missing'
    query: loadTextContent('queries/sweep-missing.kql')
    severity: 1
    column: 'Missing'
    threshold: 0
    window: sweepMissingAfter
    every: 'PT15M'
  }
  {
    name: 'sweep-missed'
    query: loadTextContent('queries/sweep-missed.kql')
    severity: 1
    column: 'Missed'
    threshold: 0
    window: 'PT15M'
    every: 'PT5M'
  }
  {
    name: 'sweep-failed'
    query: loadTextContent('queries/sweep-failed.kql')
    severity: 2
    column: 'Failed'
    threshold: 0
    window: 'PT15M'
    every: 'PT15M'
  }
  {
    name: 'server-errors'
    query: loadTextContent('queries/server-errors.kql')
    severity: 1
    column: 'SharePercent'
    threshold: 5
    window: 'PT15M'
    every: 'PT5M'
  }
  {
    name: 'throttled'
    query: loadTextContent('queries/throttled.kql')
    severity: 3
    column: 'Throttles'
    threshold: 20
    window: 'PT15M'
    every: 'PT15M'
  }
  {
    name: 'credential-refused'
    query: loadTextContent('queries/credential-refused.kql')
    severity: 1
    column: 'Refusals'
    threshold: 0
    window: 'PT10M'
    every: 'PT5M'
  }
  {
    name: 'deletions-unusual'
    query: loadTextContent('queries/deletions-unusual.kql')
    severity: 1
    column: 'Identities'
    threshold: unusualDeletions
    window: 'PT1H'
    every: 'PT15M'
  }
  {
    name: 'creations-unusual'
    query: loadTextContent('queries/creations-unusual.kql')
    severity: 1
    column: 'Identities'
    threshold: unusualCreations
    window: 'PT1H'
    every: 'PT15M'
  }
  {
    name: 'tokens-unusual'
    query: loadTextContent('queries/tokens-unusual.kql')
    severity: 1
    column: 'Tokens'
    threshold: unusualTokens
    window: 'PT1H'
    every: 'PT15M'
  }
  {
    name: 'refusals'
    query: loadTextContent('queries/refusals.kql')
    severity: 2
    column: 'Refusals'
    threshold: 500
    window: 'PT15M'
    every: 'PT5M'
  }
  {
    name: 'identity-lost'
    query: loadTextContent('queries/identity-lost.kql')
    severity: 3
    column: 'Lost'
    threshold: 0
    window: 'PT1H'
    every: 'PT1H'
  }
]

// Azure Monitor's names of West Europe, North Europe, East US, West US and Southeast Asia.
var locations = ['emea-nl-ams-azr', 'emea-gb-db3-azr', 'us-va-ash-azr', 'us-ca-sjc-azr', 'apac-sg-sin-azr']

// What the app's role allows on the ACS resource and the app never does. An existing resource is watched too: the
// alerts are in this group, so nothing is put into the resource's own.
var communicationAlerts = [
  { name: 'acs-keys-read', operation: 'ListKeys/action' }
  { name: 'acs-key-regenerated', operation: 'RegenerateKey/action' }
  { name: 'acs-changed', operation: 'Write' }
  { name: 'acs-deleted', operation: 'Delete' }
]

var registryAlerts = [{ name: 'storage-unavailable', account: registryAccountId }]
var hostAlerts = [{ name: 'host-storage-unavailable', account: hostAccountId }]
var storageAlerts = hostAccountId == registryAccountId ? registryAlerts : concat(registryAlerts, hostAlerts)

resource operators 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'operators'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'operators'
    emailReceivers: [{ name: 'operators', emailAddress: email, useCommonAlertSchema: true }]
  }
}

resource rules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in alerts: {
    name: alert.name
    location: location
    tags: tags
    properties: {
      displayName: alert.name
      description: '${explanations}${alert.name}'
      severity: alert.severity
      enabled: true
      scopes: [workspaceId]
      // In a new workspace the table may not exist until the first line arrives.
      skipQueryValidation: true
      evaluationFrequency: alert.every
      windowSize: alert.window
      criteria: {
        allOf: [
          {
            query: alert.query
            timeAggregation: 'Maximum'
            metricMeasureColumn: alert.column
            operator: 'GreaterThan'
            threshold: alert.threshold
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      autoMitigate: true
      actions: { actionGroups: empty(email) ? [] : [operators.id] }
    }
  }
]

// An app without functions responds with 404, or with the platform's own page. Each run is billed, so each location asks
// four times an hour only.
resource health 'Microsoft.Insights/webtests@2022-06-15' = {
  name: 'health'
  location: location
  // Application Insights finds its tests by this tag.
  tags: union(tags, { 'hidden-link:${applicationInsightsId}': 'Resource' })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: 'health'
    Name: 'health'
    Kind: 'standard'
    Enabled: true
    Frequency: 900
    Timeout: 60
    // A restart is no outage.
    RetryEnabled: true
    Locations: [for place in locations: { Id: place }]
    Request: { HttpVerb: 'GET', RequestUrl: '${url}/api/health', ParseDependentRequests: false }
    ValidationRules: {
      ExpectedHttpStatusCode: 200
      ContentValidation: { ContentMatch: '"status":"ok"', PassIfTextFound: true }
      SSLCheck: true
    }
  }
}

// The next two read metrics, not the workspace: a flood that fills it cannot mute them.
resource unavailable 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'app-unavailable'
  location: 'global'
  tags: tags
  properties: {
    description: '${explanations}app-unavailable'
    severity: 1
    enabled: true
    scopes: [health.id, applicationInsightsId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: health.id
      componentId: applicationInsightsId
      failedLocationCount: 3
    }
    autoMitigate: true
    actions: empty(email) ? [] : [{ actionGroupId: operators.id }]
  }
}

// The share of requests that storage answers without an error of its own. A refusal is none, whoever sends the request.
// One rule for each account: a rule on metrics of storage watches a single one.
resource storageUnavailable 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for alert in storageAlerts: {
    name: alert.name
    location: 'global'
    tags: tags
    properties: {
      description: '${explanations}storage-unavailable'
      severity: 2
      enabled: true
      scopes: [alert.account]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT15M'
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: 'availability'
            metricName: 'Availability'
            timeAggregation: 'Average'
            operator: 'LessThan'
            threshold: 95
          }
        ]
      }
      autoMitigate: true
      actions: empty(email) ? [] : [{ actionGroupId: operators.id }]
    }
  }
]

resource communicationRules 'Microsoft.Insights/activityLogAlerts@2020-10-01' = [
  for alert in communicationAlerts: {
    name: alert.name
    location: 'global'
    tags: tags
    properties: {
      description: '${explanations}the-acs-resource-was-changed'
      enabled: true
      scopes: [communicationId]
      condition: {
        allOf: [
          { field: 'category', equals: 'Administrative' }
          { field: 'operationName', equals: 'Microsoft.Communication/CommunicationServices/${alert.operation}' }
        ]
      }
      actions: { actionGroups: empty(email) ? [] : [{ actionGroupId: operators.id }] }
    }
  }
]

output actionGroups string[] = empty(email) ? [] : [operators.id]
