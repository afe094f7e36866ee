// Warns before the log reaches its daily cap: after it, no line arrives until the next day, and alerts on lines are
// blind. docs/operate.md, "log-volume", says what to do.
param location string
param tags object
param workspaceId string
param dailyCapGB int
param actionGroups string[]

resource rule 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'log-volume'
  location: location
  tags: tags
  properties: {
    displayName: 'log-volume'
    description: 'docs/operate.md#log-volume'
    severity: 2
    enabled: true
    scopes: [workspaceId]
    // Some of the tables may not exist.
    skipQueryValidation: true
    evaluationFrequency: 'PT15M'
    windowSize: 'P1D'
    criteria: {
      allOf: [
        {
          query: loadTextContent('queries/log-volume.kql')
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'Megabytes'
          operator: 'GreaterThan'
          // 80 % of the cap.
          threshold: dailyCapGB * 800
          failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
        }
      ]
    }
    autoMitigate: true
    actions: { actionGroups: actionGroups }
  }
}
