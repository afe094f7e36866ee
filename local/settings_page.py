"""`python -m local.settings_page`: writes docs/settings.md anew. `make docs` does."""

from identity_service.settings_reference import page
from local.azure import ROOT

PAGE = ROOT / "docs" / "settings.md"

if __name__ == "__main__":
    PAGE.write_text(page())
