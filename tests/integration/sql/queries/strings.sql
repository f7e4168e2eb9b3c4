-- Functions of text.
CREATE TABLE strings (a VARCHAR, b VARCHAR, c VARCHAR, d BIGINT, e VARCHAR, f VARCHAR, g VARCHAR) WITH (${sink});

INSERT INTO strings
SELECT upper(channel), lower(channel), replace(channel, 'o', '0'), CAST(char_length(channel) AS BIGINT),
    substring(channel, 2, 3), lpad(channel, 12, '*'), reverse(channel)
FROM bid WHERE price > 1500;
