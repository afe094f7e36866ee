// A new ACS resource, in a network. The host and the registry share a storage account.
using '../../../infra/main.bicep'

param environmentName = 'variant'
param location = 'westeurope'
param dataLocation = 'Europe'
param vnetEnabled = true
param storageAccounts = 'one'
