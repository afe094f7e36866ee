// The host and the registry have an account each, as in every new deployment by azd.
using '../../../infra/main.bicep'

param environmentName = 'variant'
param location = 'westeurope'
param dataLocation = 'Europe'
param storageAccounts = 'two'
param auditRetentionDays = 30
