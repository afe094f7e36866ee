import { defineConfig } from "vite";

export default defineConfig({
  // Relative: the page may be served under any path.
  base: "./",
  build: {
    // The policy lets in files, and nothing that is written inside others.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
