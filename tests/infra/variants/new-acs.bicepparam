// A new ACS resource. The host and the registry share an account.
using '../../../infra/main.bicep'

param environmentName = 'variant'
param location = 'westeurope'
param dataLocation = 'Europe'
param storageAccounts = 'one'
