// Next to an existing ACS resource, in another group of the subscription that compile.sh names. The second storage
// account exists, but the app does not use it yet.
using '../../../infra/main.bicep'

param environmentName = 'variant'
param location = 'westeurope'
param dataLocation = 'Europe'
param communicationResourceId = '/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg-chat/providers/Microsoft.Communication/communicationServices/contoso'
param storageAccounts = 'prepared'
