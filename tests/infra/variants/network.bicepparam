// Storage is only reachable from the app's network, and the host and the registry share an account.
using '../../../infra/main.bicep'

param environmentName = 'variant'
param location = 'westeurope'
param dataLocation = 'Europe'
param vnetEnabled = true
param storageAccounts = 'one'
