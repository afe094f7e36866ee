// The function app on Flex Consumption, and its settings.
param name string
param location string
param tags object
param identityId string
param clientId string
param communicationEndpoint string
param communicationGuid string
param storageName string
param packageContainer string
param registryTables string
// The subnet of the app, if it has one.
param subnetId string?
param applicationInsights string
param pythonVersion string
param instanceMemoryMB int
param maximumInstances int
param alwaysReadyInstances int
param allowedOrigins string[]
param signInClientId string
param openTelemetry bool
param settings { *: string }
param moreSettings { *: string }

var isSignInOn = !empty(signInClientId)

var telemetrySettings = openTelemetry
  ? {
      AzureFunctionsJobHost__telemetryMode: 'OpenTelemetry'
      // Workers from Python 3.13 on read the first one, earlier workers the second one. Without the optional packages, the second
      // one makes newer workers fail every call, or makes the host ignore their log.
      // Source: https://github.com/Azure/azure-functions-python-worker/issues/1881
      PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: 'true'
      PYTHON_ENABLE_OPENTELEMETRY: pythonVersion == '3.11' || pythonVersion == '3.12' ? 'true' : 'false'
    }
  : {}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: 'plan-${name}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { tier: 'FlexConsumption', name: 'FC1' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: 'func-${name}'
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    // On Flex Consumption, all outgoing calls then go through the network, without further settings. Null without one, as in
    // Microsoft's own module avm/res/web/site.
    virtualNetworkSubnetId: subnetId
    functionAppConfig: {
      runtime: { name: 'python', version: pythonVersion }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageContainer
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReadyInstances > 0 ? [{ name: 'http', instanceCount: alwaysReadyInstances }] : []
        // By default the platform sends a Python instance one HTTP call at a time. This app is async: a
        // call spends nearly all of its time waiting for ACS and the table, so one worker handles many.
        // 32 calls of 50 ms each are 640 a second, more than one core can serve.
        triggers: { http: { perInstanceConcurrency: 32 } }
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      cors: { allowedOrigins: allowedOrigins }
    }
  }

  resource appSettings 'config' = {
    name: 'appsettings'
    // The last one wins: no parameter replaces a setting that the template decides.
    properties: union(
      moreSettings,
      settings,
      telemetrySettings,
      {
        COMMUNICATION_SERVICES_ENDPOINT: communicationEndpoint
        COMMUNICATION_SERVICES_RESOURCE_ID: communicationGuid
        AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential'
        AZURE_CLIENT_ID: clientId
        AzureWebJobsStorage__accountName: storageName
        AzureWebJobsStorage__credential: 'managedidentity'
        AzureWebJobsStorage__clientId: clientId
        REGISTRY_STORAGE__tableServiceUri: registryTables
        // 1 MiB. The app accepts 16 KiB, but it can only refuse a body that is already in memory.
        FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '1048576'
        APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsights
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${clientId}'
      }
    )
  }

  // Publishing requires Entra credentials too.
  resource zipPublishing 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
    // Here and below, deploy one after the other: the platform locks the app during each change.
    dependsOn: [appSettings]
  }

  resource ftpPublishing 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
    dependsOn: [zipPublishing]
  }

  // The platform checks tokens and allows requests without one: services may send a function key instead,
  // and the app decides. Checking tokens needs no client secret. Users and services share it: a token shows
  // which of the two sends it. Always deployed: without a client id it turns off what an earlier deployment turned on.
  resource signIn 'config' = {
    name: 'authsettingsV2'
    properties: {
      platform: { enabled: isSignInOn }
      globalValidation: {
        requireAuthentication: false
        unauthenticatedClientAction: 'AllowAnonymous'
      }
      identityProviders: {
        azureActiveDirectory: isSignInOn
          ? {
              enabled: true
              registration: {
                clientId: signInClientId
                openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
              }
              validation: { allowedAudiences: [signInClientId, 'api://${signInClientId}'] }
            }
          : { enabled: false }
      }
      login: { tokenStore: { enabled: false } }
    }
    dependsOn: [ftpPublishing]
  }
}

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
