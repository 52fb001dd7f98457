"""Stand-in for Slicer's module SampleData: what is registered can be looked at and called."""


class SampleDataLogic:
    """Sources by category."""

    sources = {}  # noqa: RUF012  # as in Slicer, one for the whole application

    @staticmethod
    def registerCustomSampleDataCategory(category, title=None):
        SampleDataLogic.sources.setdefault(category, [])

    @staticmethod
    def registerCustomSampleDataSource(category="Custom", sampleName=None, customDownloader=None, **others):
        SampleDataLogic.sources.setdefault(category, []).append((sampleName, customDownloader, others))
