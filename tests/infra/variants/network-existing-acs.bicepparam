// In a network, next to an existing ACS resource. The host and the registry have an account each.
using '../../../infra/main.bicep'

param environmentName = 'variant'
param location = 'westeurope'
param dataLocation = 'Europe'
param communicationResourceId = '/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg-chat/providers/Microsoft.Communication/communicationServices/contoso'
param vnetEnabled = true
param storageAccounts = 'two'
