import { defineConfig } from "vite";

export default defineConfig({
  // Relative, so the page works under any path.
  base: "./",
  build: {
    // The content security policy allows files only, no inline assets.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
