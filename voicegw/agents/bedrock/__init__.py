"""Models on Amazon Bedrock, by ConverseStream."""
