// Alerts for operators. docs/operate.md explains each: what it means and what to do.
param location string
param tags object
param workspaceId string
param communicationId string
param email string
param unusualDeletions int
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
    column: 'Deletions'
    threshold: unusualDeletions
    window: 'PT1H'
    every: 'PT15M'
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

// What the app's role allows on the ACS resource and the app never does. An existing resource is watched too: the
// alerts are in this group, so nothing is put into the resource's own.
var communicationAlerts = [
  { name: 'acs-keys-read', operation: 'ListKeys/action' }
  { name: 'acs-key-regenerated', operation: 'RegenerateKey/action' }
  { name: 'acs-changed', operation: 'Write' }
  { name: 'acs-deleted', operation: 'Delete' }
]

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
