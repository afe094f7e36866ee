"""Facts about infra/ that can be checked without Azure."""
