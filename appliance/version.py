"""The version of Trivet: of both images, all programs and the API's package version."""

VERSION = "0.1.0"
